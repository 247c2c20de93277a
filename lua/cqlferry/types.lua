---@meta
-- types.lua - what scripts of cqlferry may call, for editors that know LuaLS: they
-- complete names and warn of wrong types. Never loaded by the proxy.
--
-- In the editor's .luarc.json:
--   { "runtime.version": "LuaJIT", "workspace.library": ["/usr/local/share/cqlferry/lua/cqlferry"] }
--
-- docs/lua.md has the same with more words.

---What a statement is.
---@alias cqlferry.kind "read"|"write"|"schema"|"use"|"unknown"

---What it does. `schema`: CREATE, ALTER, DROP and the like; `role`: GRANT, REVOKE, CREATE ROLE and the like.
---@alias cqlferry.verb
---| "select"|"insert"|"update"|"delete"|"batch"|"truncate"|"use"|"schema"|"role"|"list"|"describe"|"call"|"unknown"

---Where a request goes. `mirror`: reads only; the primary answers, the other cluster gets a copy.
---@alias cqlferry.route_name "origin"|"target"|"both"|"mirror"

---@alias cqlferry.cluster "origin"|"target"

---How long an answer of a hook is kept.
---@alias cqlferry.scope
---| "table"     # for this kind of statement on this table, until the next reload
---| "statement" # for this prepared statement, until the next reload
---| "request"   # not at all

---@alias cqlferry.on_error
---| "pass" # as if the hook had no opinion
---| "deny" # the request is refused

---@alias cqlferry.denial_code "unauthorized"|"invalid"|"overloaded"|"server_error"|"config_error"|"syntax_error"

---@alias cqlferry.level "error"|"warn"|"info"|"debug"|"trace"

---@alias cqlferry.consistency
---| "ANY"|"ONE"|"TWO"|"THREE"|"QUORUM"|"ALL"|"LOCAL_QUORUM"|"EACH_QUORUM"|"LOCAL_ONE"

---A list: a table of strings, or one string with commas.
---@alias cqlferry.list string|string[]

---Made by proxy.route().
---@class cqlferry.route

---Made by req:deny(), to be returned at once.
---@class cqlferry.denial

---What a hook may return.
---@alias cqlferry.opinion nil|cqlferry.route_name|cqlferry.route|cqlferry.denial

---Which requests a hook is asked about. What is left out does not matter.
---@class cqlferry.filter
---@field kinds? cqlferry.list      cqlferry.kind
---@field keyspaces? cqlferry.list  when any table of the request is in one of them
---@field tables? cqlferry.list     KEYSPACE.TABLE, when any table of the request is one of them
---@field users? cqlferry.list      who has logged in; with scope "request" only
---@field opcodes? cqlferry.list    QUERY, EXECUTE, BATCH; with scope "request" only
---@field scope? cqlferry.scope     "request" when it is left out
---@field on_error? cqlferry.on_error "pass" when it is left out

---@class cqlferry.route_options
---@field to cqlferry.cluster|"both"
---@field answer_from? cqlferry.cluster        whose answer the client gets when both agree; with to = "both"
---@field mirror? boolean                      the other cluster gets a copy; reads to one cluster only
---@field consistency? cqlferry.consistency    in place of the request's, unless that is a serial one
---@field timeout? string                       "500ms", "30s", "2m": in place of request_timeout
---@field timeout_ms? integer                   the same in milliseconds
---@field tag? string                          counted in policy_tagged_requests_total

---@class cqlferry.counter
local counter = {}

---@param n? integer 1 when it is left out
function counter:add(n) end

---Adds 1.
function counter:inc() end

---The request that a hook is asked about. It may be used until the hook returns.
---@class cqlferry.request
local request = {}

---@return cqlferry.kind
function request:kind() end

---@return cqlferry.verb
function request:verb() end

---@return string|nil keyspace nil where it is not known, and of a batch with tables of several
function request:keyspace() end

---@return string|nil table nil where there is none, and of a batch with several
function request:table() end

---`for name, keyspace, table in req:tables() do`: each table once, of a batch all; `name`
---is "keyspace.table", or "keyspace.*" of a statement about a keyspace.
---@return fun(): string|nil, string|nil, string|nil
function request:tables() end

---@return string opcode "QUERY", "EXECUTE", "BATCH"
function request:opcode() end

---@return cqlferry.consistency|"SERIAL"|"LOCAL_SERIAL"|nil consistency
function request:consistency() end

---@return string|nil user nil when the client has not logged in
function request:user() end

---@return string address without port
function request:client_addr() end

---@return string|nil name as the driver says it
function request:client_driver() end

---@return string|nil version as the driver says it
function request:client_driver_version() end

---@return boolean
function request:is_prepared() end

---@return boolean
function request:is_system() end

---@return integer bytes of the request's body
function request:size() end

---@param n integer
---@return integer|nil bucket 0 to n - 1, the same for the same partition key; nil where the key is not known
function request:key_bucket(n) end

---@param n integer
---@return integer bucket 0 to n - 1, the same for the same user and address
function request:client_bucket(n) end

---`return req:deny("unauthorized", "%s is frozen", name)`
---@param code cqlferry.denial_code
---@param format string as string.format() takes it
---@param ... any
---@return cqlferry.denial
function request:deny(code, format, ...) end

proxy = {}

---Grows when functions are added.
---@type integer
proxy.api_version = 1

---An option of the section [lua]; its type is the default's, a string where that is nil.
---@generic T: string|number|boolean|nil
---@param name string
---@param default T
---@return T
function proxy.option(name, default) end

---A set for look-ups: `set[name]` is true or nil.
---@param list cqlferry.list
---@return table<string, true>
function proxy.set(list) end

---@param options cqlferry.route_options
---@return cqlferry.route
function proxy.route(options) end

---@param name string 1 to 64 characters, shown by metrics and log
---@param filter cqlferry.filter
---@param fn fun(req: cqlferry.request): cqlferry.opinion
---@overload fun(name: string, fn: fun(req: cqlferry.request): cqlferry.opinion)
function proxy.on_request(name, filter, fn) end

---@param seconds number
---@param fn fun()
function proxy.on_tick(seconds, fn) end

---@param name string
---@return cqlferry.counter
function proxy.counter(name) end

---@param key string
---@param per_second number
---@return boolean whether one more is within the rate
function proxy.rate(key, per_second) end

---@return number seconds since 1970
function proxy.time() end

---@param level cqlferry.level
---@param format string as string.format() takes it
---@param ... any
function proxy.log(level, format, ...) end
