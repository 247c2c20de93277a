// roundtrip.go - the round trip of test_round_trips.py with gocql, or by another import path with its second version.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gocql/gocql"
)

func check(err error, what string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func connect(host string, port int, keyspace string, version int) *gocql.Session {
	cluster := gocql.NewCluster(host)
	cluster.Port = port
	cluster.Keyspace = keyspace
	cluster.ProtoVersion = version
	cluster.Timeout = 15 * time.Second
	cluster.ConnectTimeout = 10 * time.Second
	cluster.Consistency = gocql.LocalOne
	cluster.RetryPolicy = &gocql.SimpleRetryPolicy{NumRetries: 0}
	session, err := cluster.CreateSession()
	check(err, "connect")
	return session
}

// All rows of a partition, written by several goroutines at once.
func fill(session *gocql.Session, rows int) {
	var group sync.WaitGroup
	for worker := 0; worker < 8; worker++ {
		group.Add(1)
		go func(first int) {
			defer group.Done()
			for c := first; c < rows; c += 8 {
				err := session.Query("INSERT INTO rows (p, c, v, l, m, u, n) VALUES (?, ?, ?, ?, ?, ?, ?)", 1, c,
					fmt.Sprintf("välue %d", c), []int{c, 2 * c}, map[string]int{"k": c},
					gocql.MustRandomUUID(), nil).Exec()
				check(err, "insert")
			}
		}(worker)
	}
	group.Wait()
}

func read(session *gocql.Session) (count int, sum int) {
	var c int
	var v string
	var l []int
	var m map[string]int
	iter := session.Query("SELECT c, v, l, m FROM rows WHERE p = ?", 1).PageSize(50).Iter()
	for iter.Scan(&c, &v, &l, &m) {
		if v != fmt.Sprintf("välue %d", c) || len(l) != 2 || l[1] != 2*c || m["k"] != c {
			fmt.Fprintf(os.Stderr, "row %d: %q %v %v\n", c, v, l, m)
			os.Exit(1)
		}
		count++
		sum += c
	}
	check(iter.Close(), "read")
	return count, sum
}

func main() {
	port, _ := strconv.Atoi(os.Args[2])
	keyspace := os.Args[3]
	version, _ := strconv.Atoi(os.Args[4])
	result := map[string]interface{}{}

	session := connect(os.Args[1], port, keyspace, version)
	defer session.Close()
	for _, text := range []string{
		"CREATE TABLE rows (p int, c int, v text, l list<int>, m map<text, int>, u uuid, n text, PRIMARY KEY (p, c))",
		"CREATE TABLE hits (id int PRIMARY KEY, n counter)",
	} {
		check(session.Query(text).Exec(), text)
	}
	check(session.AwaitSchemaAgreement(context.Background()), "schema agreement")
	fill(session, 200)
	result["rows"], result["sum"] = read(session)

	batch := session.NewBatch(gocql.LoggedBatch)
	batch.Query("INSERT INTO rows (p, c, v) VALUES (?, ?, ?)", 2, 1, "bound")
	batch.Query("INSERT INTO rows (p, c, v) VALUES (2, 2, 'text')")
	check(session.ExecuteBatch(batch), "batch")

	applied := []bool{}
	for i := 0; i < 2; i++ {
		found := map[string]interface{}{}
		ok, err := session.Query("INSERT INTO rows (p, c, v) VALUES (3, 1, ?) IF NOT EXISTS", "once").MapScanCAS(found)
		check(err, "conditional insert")
		applied = append(applied, ok)
	}
	result["applied"] = applied
	check(session.Query("UPDATE hits SET n = n + ? WHERE id = 1", int64(3)).Exec(), "counter")
	var hits int64
	check(session.Query("SELECT n FROM hits WHERE id = 1").Scan(&hits), "counter")
	result["counter"] = hits

	err := session.Query("SELECT nope FROM rows").Exec()
	failed, is := err.(gocql.RequestError)
	result["refused"] = is && failed.Code() == gocql.ErrCodeInvalid
	json.NewEncoder(os.Stdout).Encode(result)
}
