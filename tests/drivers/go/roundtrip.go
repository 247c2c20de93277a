// roundtrip.go - the round trip of test_drivers.py with gocql, or by another import path with its second version.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gocql/gocql"
	"gopkg.in/inf.v0"
)

const (
	types = "v_ascii, v_bigint, v_blob, v_boolean, v_date, v_decimal, v_double, v_duration, v_float, v_inet, v_int, " +
		"v_smallint, v_text, v_time, v_timestamp, v_timeuuid, v_tinyint, v_uuid, v_varint, v_list, v_set, v_map, " +
		"v_tuple, v_udt, v_nested"
	patience = 30 * time.Second
)

type person struct {
	Name *string `cql:"name"`
	Age  int     `cql:"age"`
}

// pair is what a tuple's elements are read into.
type pair struct {
	First  int
	Second string
}

type fields map[string]interface{}

var (
	input = bufio.NewReader(os.Stdin)
	hosts = map[string]bool{}
	guard sync.Mutex
)

func option(name string) string {
	return os.Getenv("TRIP_" + name)
}

func check(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func tell(step string, more fields) {
	more["step"] = step
	check(json.NewEncoder(os.Stdout).Encode(more), "output")
}

// ask tells the test that it is its turn, and waits for it.
func ask(step string) {
	tell(step, fields{})
	_, err := input.ReadString('\n')
	check(err, "input")
}

// note keeps every host that the driver has heard of.
func note(host *gocql.HostInfo) bool {
	guard.Lock()
	defer guard.Unlock()
	hosts[net.JoinHostPort(host.ConnectAddress().String(), strconv.Itoa(host.Port()))] = true
	return true
}

// connect leaves to the driver what it decides by itself, but for its patience: with the first version's 0.6 s a busy
// machine makes tables too slowly, and a host that is down is tried again after a minute.
func connect(keyspace string) *gocql.Session {
	cluster := gocql.NewCluster(option("ADDRESS"))
	cluster.Port, _ = strconv.Atoi(option("PORT"))
	cluster.ProtoVersion, _ = strconv.Atoi(option("VERSION")) // 0: its own choice
	cluster.Keyspace = keyspace
	cluster.Timeout = 15 * time.Second
	cluster.ConnectTimeout = 10 * time.Second
	cluster.ReconnectInterval = time.Second
	cluster.HostFilter = gocql.HostFilterFunc(note)
	if option("CA") != "" {
		cluster.SslOpts = &gocql.SslOptions{CaPath: option("CA"), EnableHostVerification: true}
	}
	if option("USER") != "" {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: option("USER"), Password: option("PASSWORD")}
	}
	session, err := cluster.CreateSession()
	check(err, "connect")
	return session
}

func execute(session *gocql.Session, text string, values ...interface{}) {
	check(session.Query(text, values...).Exec(), text)
}

func columns(session *gocql.Session, keyspace string, table string) []string {
	known, err := session.KeyspaceMetadata(keyspace)
	if err != nil || known.Tables[table] == nil {
		return nil
	}
	names := []string{}
	for name := range known.Tables[table].Columns {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// awaitColumns gives the driver time to act upon an event.
func awaitColumns(session *gocql.Session, keyspace string, table string) []string {
	deadline := time.Now().Add(patience)
	seen := columns(session, keyspace, table)
	for seen == nil && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		seen = columns(session, keyspace, table)
	}
	return seen
}

func schema(session *gocql.Session, keyspace string) {
	check(session.AwaitSchemaAgreement(context.Background()), "schema agreement")
	awaitColumns(session, keyspace, "rows")
	known, err := session.KeyspaceMetadata(keyspace)
	check(err, "schema")
	key := []string{}
	for _, column := range known.Tables["rows"].PartitionKey {
		key = append(key, column.Name)
	}
	guard.Lock()
	defer guard.Unlock()
	names := []string{}
	for host := range hosts {
		names = append(names, host)
	}
	tell("schema", fields{"columns": columns(session, keyspace, "rows"), "key": key, "hosts": names})
}

// statements writes all rows of a partition by several goroutines at once.
func statements(session *gocql.Session) {
	execute(session, "INSERT INTO rows (p, c, v) VALUES (4, 1, ?)", "simple")
	execute(session, "INSERT INTO rows (p, c, v) VALUES (4, 2, 'literal')")
	var group sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		group.Add(1)
		go func(first int) {
			defer group.Done()
			for c := first; c < 200; c += 8 {
				execute(session, "INSERT INTO rows (p, c, v) VALUES (?, ?, ?)", 1, c, fmt.Sprintf("välue %d", c))
			}
		}(worker)
	}
	group.Wait()
	var literal string
	check(session.Query("SELECT v FROM rows WHERE p = 4 AND c = 2").Scan(&literal), "read")
	tell("statements", fields{"literal": literal})
}

func uuid(text string) gocql.UUID {
	id, err := gocql.ParseUUID(text)
	check(err, text)
	return id
}

func power(sign int64) *big.Int {
	return new(big.Int).Mul(big.NewInt(sign), new(big.Int).Lsh(big.NewInt(1), 70))
}

func ordinary() []interface{} {
	ann := "ann"
	return []interface{}{"ascii", int64(1)<<53 + 1, []byte{0, 1, 255}, true,
		time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), inf.NewDec(12345678, 3), 1.5e300,
		gocql.Duration{Months: 1, Days: 2, Nanoseconds: 3000000000}, float32(0.5), net.ParseIP("192.0.2.7"), 7,
		int16(300), "välue \U0001F600", time.Duration(47655123456789), time.UnixMilli(1709209974789),
		uuid("50554d6e-29bb-11e5-b345-feff819cdc9f"), int8(-5), uuid("123e4567-e89b-42d3-a456-426614174000"), power(1),
		[]int{1, 2, 3}, []string{"a", "b"}, map[string]int{"x": 1, "y": 2}, pair{1, "one"}, person{&ann, 30},
		map[string][]int{"k": {1, 2}}}
}

func extreme() []interface{} {
	return []interface{}{"", int64(math.MinInt64), []byte{}, false, time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC),
		inf.NewDec(-1, -10), math.SmallestNonzeroFloat64, gocql.Duration{Months: -1, Days: -2, Nanoseconds: -3},
		float32(-math.MaxFloat32), net.ParseIP("2001:db8::1"), math.MinInt32, int16(math.MinInt16), "",
		time.Duration(0), time.UnixMilli(-1), uuid("13814000-1dd2-11b2-8000-000000000000"), int8(127),
		uuid("ffffffff-ffff-4fff-bfff-ffffffffffff"), power(-1), []int{}, []string{}, map[string]int{},
		pair{-1, ""}, person{nil, -1}, map[string][]int{}}
}

func same(wrote interface{}, read reflect.Value) bool {
	value := reflect.ValueOf(wrote)
	if kind := value.Kind(); wrote == nil || (kind == reflect.Slice && value.Type() != reflect.TypeOf([]byte{}) ||
		kind == reflect.Map) && value.Len() == 0 { // an empty collection is null
		return read.IsNil() || reflect.DeepEqual(wrote, read.Elem().Interface())
	}
	if read.IsNil() {
		return false
	}
	switch w := wrote.(type) {
	case []byte:
		return bytes.Equal(w, read.Elem().Interface().([]byte))
	case *big.Int:
		return w.Cmp(read.Interface().(*big.Int)) == 0
	case *inf.Dec:
		return w.Cmp(read.Interface().(*inf.Dec)) == 0
	case time.Time:
		return w.Equal(read.Elem().Interface().(time.Time))
	case net.IP:
		return w.Equal(read.Elem().Interface().(net.IP))
	}
	return reflect.DeepEqual(wrote, read.Elem().Interface())
}

// targets makes a pointer to a pointer for each column, so that null can be seen; a tuple is read by its elements.
func targets() (scanned []interface{}, values []reflect.Value) {
	for _, value := range ordinary() {
		if _, is := value.(pair); is {
			first, second := new(*int), new(*string)
			scanned = append(scanned, first, second)
			values = append(values, reflect.ValueOf([]interface{}{first, second}))
			continue
		}
		kind := reflect.TypeOf(value)
		if kind.Kind() == reflect.Ptr {
			kind = kind.Elem()
		}
		target := reflect.New(reflect.PtrTo(kind))
		scanned = append(scanned, target.Interface())
		values = append(values, target.Elem())
	}
	return scanned, values
}

// tuple is a pointer to what was read of one, nil when its elements are null.
func tuple(elements []interface{}) reflect.Value {
	first, second := *elements[0].(**int), *elements[1].(**string)
	if first == nil || second == nil {
		return reflect.ValueOf((*pair)(nil))
	}
	return reflect.ValueOf(&pair{*first, *second})
}

func typesTrip(session *gocql.Session) {
	insert := "INSERT INTO types (id, " + types + ") VALUES (?" + strings.Repeat(", ?", 22) + ", (?, ?), ?, ?)"
	names := strings.Split(types, ", ")
	wrong := []string{}
	for id, values := range map[int][]interface{}{1: ordinary(), 2: make([]interface{}, 25), 3: extreme()} {
		bound := []interface{}{id}
		for at, value := range values {
			if p, is := value.(pair); is { // one marker for all of it is more than it can do
				bound = append(bound, p.First, p.Second)
			} else if value == nil && names[at] == "v_tuple" {
				bound = append(bound, nil, nil)
			} else if value == nil && names[at] == "v_udt" {
				bound = append(bound, (*person)(nil))
			} else {
				bound = append(bound, value)
			}
		}
		execute(session, insert, bound...)
		scanned, read := targets()
		check(session.Query("SELECT "+types+" FROM types WHERE id = ?", id).Scan(scanned...), "read types")
		for at, value := range values {
			if elements, is := read[at].Interface().([]interface{}); is {
				read[at] = tuple(elements)
			}
			if !same(value, read[at]) {
				wrong = append(wrong, fmt.Sprintf("%d %s: %v %v", id, names[at], value, read[at]))
			}
		}
	}
	tell("types", fields{"wrong": wrong})
}

func paging(session *gocql.Session) {
	var pages, rows, sum, c int
	var v string
	var state []byte
	for {
		iter := session.Query("SELECT c, v FROM rows WHERE p = ?", 1).PageSize(30).PageState(state).Iter()
		state = iter.PageState()
		for iter.Scan(&c, &v) {
			if v != fmt.Sprintf("välue %d", c) {
				check(errors.New(v), "row")
			}
			rows++
			sum += c
		}
		check(iter.Close(), "page")
		pages++
		if len(state) == 0 {
			break
		}
	}
	all := 0
	iter := session.Query("SELECT c FROM rows WHERE p = 1").PageSize(30).Iter()
	for iter.Scan(&c) {
		all++
	}
	check(iter.Close(), "pages")
	tell("paging", fields{"rows": rows, "sum": sum, "pages": pages, "simple": all})
}

func batches(session *gocql.Session) {
	for first, kind := range map[int]gocql.BatchType{1: gocql.LoggedBatch, 3: gocql.UnloggedBatch} {
		batch := session.NewBatch(kind)
		batch.Query("INSERT INTO rows (p, c, v) VALUES (?, ?, ?)", 2, first, "bound")
		batch.Query(fmt.Sprintf("INSERT INTO rows (p, c, v) VALUES (2, %d, 'text')", first+1))
		check(session.ExecuteBatch(batch), "batch")
	}
	add := "UPDATE hits SET n = n + ? WHERE id = ?"
	execute(session, add, int64(3), 1)
	batch := session.NewBatch(gocql.CounterBatch)
	batch.Query(add, int64(2), 1)
	batch.Query(add, int64(4), 2)
	check(session.ExecuteBatch(batch), "counter batch")
	var hits int64
	check(session.Query("SELECT n FROM hits WHERE id = 1").Scan(&hits), "counter")
	tell("batches", fields{"counter": hits})
}

func conditional(session *gocql.Session) {
	applied := []bool{}
	var found map[string]interface{}
	for _, value := range []string{"once", "twice"} {
		found = map[string]interface{}{}
		ok, err := session.Query("INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS", value).MapScanCAS(found)
		check(err, "conditional insert")
		applied = append(applied, ok)
	}
	tell("conditional", fields{"applied": applied, "found": found["v"]})
}

func mistakes(session *gocql.Session) {
	names := map[int]string{gocql.ErrCodeSyntax: "syntax", gocql.ErrCodeInvalid: "invalid",
		gocql.ErrCodeUnauthorized: "unauthorized"}
	seen := []string{}
	for _, text := range []string{"SELEKT v FROM rows", "SELECT v FROM no_such_table", option("FORBIDDEN")} {
		err := session.Query(text).Exec()
		var failed gocql.RequestError
		if errors.As(err, &failed) && names[failed.Code()] != "" {
			seen = append(seen, names[failed.Code()])
		} else {
			seen = append(seen, fmt.Sprintf("%T %v", err, err))
		}
	}
	tell("errors", fields{"seen": seen})
}

// reconnect: the session goes on, and with it a statement that was prepared before.
func reconnect(session *gocql.Session) {
	deadline := time.Now().Add(patience)
	for {
		err := session.Query("INSERT INTO rows (p, c, v) VALUES (?, ?, ?)", 5, 1, "prepared before").Exec()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			check(err, "reconnect")
		}
		time.Sleep(50 * time.Millisecond)
	}
	execute(session, "INSERT INTO rows (p, c, v) VALUES (5, 2, 'simple')")
	var read string
	check(session.Query("SELECT v FROM rows WHERE p = 5 AND c = 1").Scan(&read), "read")
	tell("reconnect", fields{"read": read})
}

func main() {
	keyspace := option("KEYSPACE")
	script, err := os.ReadFile(option("SCHEMA"))
	check(err, "schema")
	texts := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(script), "$KEYSPACE", keyspace)), "\n")

	first := connect("")
	var name string
	check(first.Query("SELECT cluster_name FROM system.local").Scan(&name), "cluster name")
	tell("connect", fields{"cluster": name})
	execute(first, texts[0])
	first.Close()
	session := connect(keyspace)
	defer session.Close()
	for _, text := range texts[1:] {
		execute(session, text)
	}
	schema(session, keyspace)
	statements(session)
	if option("VERSION") != "3" { // which has not all types
		typesTrip(session)
	}
	paging(session)
	batches(session)
	conditional(session)
	mistakes(session)
	ask("outside")
	tell("events", fields{"columns": awaitColumns(session, keyspace, "outside")})
	ask("restart")
	reconnect(session)
	tell("end", fields{})
}
