package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite"
)

// floorRows is how many rows the bare transactions choose from: enough that two clients seldom meet.
const floorRows = 10_000

// openFloor opens one connection to the database of the floors.
func openFloor(ctx context.Context, driver, dsn string) (*sql.DB, error) {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, db.PingContext(ctx)
}

// prepareFloor makes the two tables of the bare transactions.
func prepareFloor(ctx context.Context, driver, dsn string) error {
	db, err := openFloor(ctx, driver, dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	key := "INTEGER PRIMARY KEY AUTOINCREMENT"
	if driver == "mysql" {
		key = "BIGINT AUTO_INCREMENT PRIMARY KEY"
	}
	for _, ddl := range []string{
		"CREATE TABLE floor_row (id " + key + ", n BIGINT NOT NULL)",
		"CREATE TABLE floor_history (id " + key + ", row_id BIGINT NOT NULL, at VARCHAR(32) NOT NULL)",
	} {
		if _, err := db.ExecContext(ctx, ddl); err != nil {
			return err
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for i := range floorRows {
		if _, err := tx.ExecContext(ctx, "INSERT INTO floor_row (id, n) VALUES (?, 0)", i+1); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	return tx.Commit()
}

// selector asks SELECT 1 over a connection that is open.
type selector struct{ db *sql.DB }

func (c selector) step(ctx context.Context, note lap) error {
	start := time.Now()
	var one int
	if err := c.db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return err
	}
	note(0, time.Since(start))
	return nil
}

// writer commits the least that a hand-over could be: one row updated by its key, one row of history.
type writer struct{ db *sql.DB }

func (c writer) step(ctx context.Context, note lap) error {
	start := time.Now()
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	id := 1 + rand.IntN(floorRows)
	r, err := tx.ExecContext(ctx, "UPDATE floor_row SET n = n + 1 WHERE id = ?", id)
	if err == nil {
		var n int64
		if n, err = r.RowsAffected(); err == nil && n != 1 {
			err = fmt.Errorf("row %d: %d rows updated", id, n)
		}
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, "INSERT INTO floor_history (row_id, at) VALUES (?, ?)", id, start.UTC().Format(time.RFC3339Nano))
	}
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	note(0, time.Since(start))
	return nil
}
