package redisledger_test

import (
	"context"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/keybrake/keybrake-go/ledger/redisledger"
)

// A client for the books answers soon or not at all: the brake refuses calls while it waits.
func ExampleNew() {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ReadTimeout: time.Second})
	defer rdb.Close()
	l := redisledger.New(rdb, nil) // does no I/O; keybrake.New asks Check
	if err := l.Check(context.Background()); err != nil {
		log.Print(err) // such as: maxmemory-policy is allkeys-lru, which would forget budgets
	}
}
