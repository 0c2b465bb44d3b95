package queries_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"time"

	"github.com/keybrake/keybrake-go/audit/sqlaudit/queries"
	"github.com/keybrake/keybrake-go/cost"
)

var db *sql.DB

func ExampleRun() {
	ctx, now := context.Background(), time.Now()
	rows, err := queries.Run(ctx, db, "cost_per_run", queries.Args{
		"tenant": "acme", "from_day": now.AddDate(0, 0, -7), "until_day": now, "most": 20,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var run string
		var meter cost.Meter
		var currency cost.Currency
		var spent, held int64
		if err := rows.Scan(&run, &meter, &currency, &spent, &held); err != nil {
			log.Fatal(err)
		}
		fmt.Println(run, cost.Format(spent, currency, meter), "and held", cost.Format(held, currency, meter))
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
}
