#!/bin/sh
# Checks who may include and call what (docs/internals.md, "Modules"):
#
#   1. base includes nothing of ours outside base; cql only base; proxy only base and cql; policy and control may
#      also read proxy. main.c wires all.
#   2. Only base/sbuf and base/tls call recv, send (in any form) and SSL_*. In cql and proxy nobody calls read or write.
#      Sockets are made, bound, connected and accepted by base/net and proxy/listener.
#   3. Only policy/lua_* includes the headers of Lua.
#   4. Only policy/plugin* loads code at run time.
#   5. cql never includes libevent or sockets, nor a header of base that does.
#
# usage: check-includes.sh [DIR]         checks DIR/src (default: this tree)
#        check-includes.sh --self-test   plants violations in a copy and expects each to be found
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)

# Prints one line per violation.
check() {
	(cd "$1" && find src -name '*.[ch]' | sort | xargs awk '
	# The line without comments and without what is inside strings, except on #include lines.
	function code_of(line,    out, i, c, two) {
		out = ""
		for (i = 1; i <= length(line); i++) {
			c = substr(line, i, 1)
			two = substr(line, i, 2)
			if (in_comment) {
				if (two == "*/") { in_comment = 0; i++ }
			} else if (quote != "") {
				if (c == "\\") i++
				else if (c == quote) { quote = ""; out = out c }
			} else if (two == "/*") {
				in_comment = 1; i++
			} else if (two == "//") {
				break
			} else {
				if ((c == "\"" || c == "\047") && line !~ /^[ \t]*#[ \t]*include/) quote = c
				out = out c
			}
		}
		quote = ""
		return out
	}
	function bad(text) {
		printf "%s:%d: %s: %s\n", FILENAME, FNR, text, shown
	}
	function calls(code, names) {
		return code ~ ("(^|[^A-Za-z0-9_.>])(" names ")[ \t]*\\(")
	}
	BEGIN {
		may["base"] = " base "
		may["cql"] = " base cql "
		may["proxy"] = " base cql proxy "
		may["policy"] = " base cql proxy policy "
		may["control"] = " base cql proxy control "
	}
	FNR == 1 {
		in_comment = 0
		split(FILENAME, part, "/")
		module = part[3] == "" ? "" : part[2]
		file = FILENAME
		sub(/^src\//, "", file)
		if (module != "" && !(module in may)) {
			shown = module
			bad("a module that scripts/check-includes.sh does not know")
			may[module] = " " module " "
		}
	}
	{
		code = code_of($0)
		shown = $0
		sub(/^[ \t]+/, "", shown)
	}
	code ~ /^[ \t]*#[ \t]*include/ {
		name = code
		sub(/^[ \t]*#[ \t]*include[ \t]*/, "", name)
		ours = name ~ /^"/
		gsub(/[<>"]|[ \t]+$/, "", name)
		if (ours && name !~ (module == "" ? "^([a-z]+/)?[a-z0-9_]+[.]h$" : "^[a-z]+/[a-z0-9_]+[.]h$"))
			bad("includes are written from src/, as \"module/file.h\"")
		else if (ours && module != "" && index(may[module], " " substr(name, 1, index(name, "/") - 1) " ") == 0)
			bad(module " may include only" may[module] "of ours")
		if (name ~ /^cqlferry\// && module != "policy" && module != "")
			bad("only policy knows the plugin interface")
		if (name ~ /(^|\/)(lua|lauxlib|lualib|luajit|luaconf)\.h(pp)?$/ && file !~ /^policy\/lua_/)
			bad("only policy/lua_* may include Lua")
		if (name ~ /^dlfcn\.h$/ && file !~ /^policy\/plugin/)
			bad("only policy/plugin* may load code")
		if (name ~ /^(event2\/|ev(ent|http|dns|rpc|util)\.h|sys\/socket\.h|sys\/epoll\.h|openssl\/ssl\.h)/) {
			if (module == "cql")
				bad("cql knows no event loop and no sockets")
			tainted[file] = name
		}
		if (ours) {
			n++
			from[n] = file; to[n] = name; place[n] = FILENAME ":" FNR
		}
		next
	}
	calls(code, "recv|recvfrom|recvmsg|recvmmsg|send|sendto|sendmsg|sendmmsg|sendfile|readv|writev|SSL_[A-Za-z0-9_]+") &&
			file !~ /^base\/(sbuf|tls)/ {
		bad("only base/sbuf and base/tls may call this")
	}
	calls(code, "read|write") && (module == "cql" || module == "proxy") {
		bad("bytes go through base/sbuf")
	}
	calls(code, "socket|bind|listen|connect|accept|accept4") && module != "cql" &&
			file !~ /^(base\/net|proxy\/listener)/ { # in cql, without sys/socket.h, accept() is a parser function
		bad("only base/net and proxy/listener make, bind, connect and accept sockets")
	}
	calls(code, "dlopen|dlmopen|dlsym|dlclose") && file !~ /^policy\/plugin/ {
		bad("only policy/plugin* may load code")
	}
	END {
		# A header that includes a tainted one is tainted; at most one more link of a chain is found a round.
		for (round = 0; round < n; round++) {
			before = found
			for (i = 1; i <= n; i++)
				if (to[i] in tainted && !(from[i] in tainted)) {
					tainted[from[i]] = to[i] ", " tainted[to[i]]
					found++
				}
			if (before == found)
				break
		}
		for (i = 1; i <= n; i++)
			if (from[i] ~ /^cql\// && to[i] in tainted)
				printf "%s: cql knows no event loop and no sockets: \"%s\" includes %s\n",
					place[i], to[i], tainted[to[i]]
	}')
}

# plant FILE LINE EXPECTED: appends LINE to a copy of FILE and wants EXPECTED among the violations.
plant() {
	mkdir -p "$(dirname "$copy/src/$1")"
	existed=no
	if [ -f "$copy/src/$1" ]; then
		existed=yes
		cp "$copy/src/$1" "$copy/saved"
	fi
	printf '%s\n' "$2" >> "$copy/src/$1"
	if check "$copy" | grep "^src/$1:" | grep -qF -- "$3"; then
		planted=$((planted + 1))
	else
		echo "check-includes.sh --self-test: not found in $1: $2" >&2
		missed=$((missed + 1))
	fi
	if [ $existed = yes ]; then cp "$copy/saved" "$copy/src/$1"; else rm "$copy/src/$1"; fi
}

self_test() {
	copy=$(mktemp -d)
	trap 'rm -rf "$copy"' EXIT
	cp -r "$here/src" "$copy/src"
	planted=0
	missed=0
	plant base/common.c '#include "cql/frame.h"' 'base may include only base of ours'
	plant base/planted.h '#include "proxy/settings.h"' 'base may include only base of ours'
	plant base/common.c '#include "common.h"' 'includes are written from src/'
	plant base/common.c '#include "../cql/frame.h"' 'includes are written from src/'
	plant cql/planted.c '#include "proxy/settings.h"' 'cql may include only base cql of ours'
	plant proxy/planted.c '#include "control/config.h"' 'proxy may include only base cql proxy of ours'
	plant proxy/planted.c '#  include   "policy/policy.h"' 'proxy may include only base cql proxy of ours'
	plant control/planted.c '#include "policy/policy.h"' 'control may include only base cql proxy control of ours'
	plant policy/planted.c '#include "control/config.h"' 'policy may include only base cql proxy policy of ours'
	plant proxy/planted.c '#include <cqlferry/plugin.h>' 'only policy knows the plugin interface'
	plant other/planted.c 'int x;' 'does not know'
	plant proxy/planted.c 'n = recv(fd, buf, size, 0);' 'only base/sbuf and base/tls may call this'
	plant base/net.c '	if (!x && send (fd, buf, size, 0) < 0)' 'only base/sbuf and base/tls may call this'
	plant main.c 'n = sendmsg(fd, &msg, 0);' 'only base/sbuf and base/tls may call this'
	plant control/planted.c 'SSL_CTX_free(ctx);' 'only base/sbuf and base/tls may call this'
	plant proxy/planted.c 'n = write(fd, "/*", 2);' 'bytes go through base/sbuf'
	plant proxy/planted.c 'fd = socket(AF_INET, SOCK_STREAM, 0);' 'only base/net and proxy/listener'
	plant control/planted.c '/* call */ connect(fd, sa, len);' 'only base/net and proxy/listener'
	plant policy/plugin_host.c '#include <lua.h>' 'only policy/lua_* may include Lua'
	plant proxy/planted.c '#include <luajit-2.1/lauxlib.h>' 'only policy/lua_* may include Lua'
	plant policy/lua_vm.c 'handle = dlopen(path, RTLD_NOW);' 'only policy/plugin* may load code'
	plant main.c '#include <dlfcn.h>' 'only policy/plugin* may load code'
	plant cql/planted.h '#include <event2/event.h>' 'cql knows no event loop and no sockets'
	plant cql/planted.c '#include "base/loop.h"' 'cql knows no event loop and no sockets: "base/loop.h" includes'
	plant cql/planted.c '#include "base/sbuf.h"' 'cql knows no event loop and no sockets: "base/sbuf.h" includes'

	# And what must not be taken for a violation.
	printf '%s\n' '/* recv(fd), SSL_read() and' ' * send(fd) are called by base/sbuf */' 'sb->ops->send(sb);' \
		'log_info("send() failed, see connect(2)");' 'sbuf_write(sb, p, n);' '// dlopen(x)' \
		'char c = '\''"'\''; /* " */ int resend(int fd);' > "$copy/src/proxy/planted.c"
	if check "$copy" | grep '^src/proxy/planted.c:' >&2; then
		echo "check-includes.sh --self-test: the above was taken for a violation" >&2
		missed=$((missed + 1))
	fi
	if [ $missed -gt 0 ]; then
		exit 1
	fi
	echo "check-includes.sh --self-test: all $planted planted violations were found"
}

case ${1-} in
--self-test)
	self_test
	;;
-*)
	sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
	exit 2
	;;
*)
	violations=$(check "${1:-$here}")
	if [ -n "$violations" ]; then
		echo "$violations" >&2
		echo "check-includes.sh: the module rules are broken, see the head of this script" >&2
		exit 1
	fi
	echo "check-includes.sh: the module rules hold"
	;;
esac
