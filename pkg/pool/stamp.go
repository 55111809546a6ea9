package pool

import (
	"database/sql/driver"
	"fmt"
	"time"
)

// stampLayout is the fixed width that makes text order the order in time: what SQLite stores, and what
// MySQL and MariaDB read as DATETIME(6).
const stampLayout = "2006-01-02 15:04:05.000000"

// stamp is a moment as the database keeps it: UTC, to the microsecond, zero for NULL. It truncates,
// because MariaDB truncates and MySQL rounds what is finer.
type stamp struct{ time.Time }

func at(t time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	return stamp{t.UTC().Truncate(time.Microsecond)}
}

// Value implements driver.Valuer.
func (s stamp) Value() (driver.Value, error) {
	if s.IsZero() {
		return nil, nil
	}
	return s.UTC().Format(stampLayout), nil
}

// Scan implements sql.Scanner for what the drivers bring: time.Time, text or NULL.
func (s *stamp) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*s = stamp{}
		return nil
	case time.Time:
		*s = at(v)
		return nil
	case []byte:
		return s.parse(string(v))
	case string:
		return s.parse(v)
	default:
		return fmt.Errorf("a time came as %T", src)
	}
}

func (s *stamp) parse(text string) error {
	t, err := time.Parse(stampLayout, text)
	if err != nil {
		return fmt.Errorf("a stored time is not readable: %w", err)
	}
	*s = stamp{t}
	return nil
}

// seconds turns a stored number of seconds into a duration.
func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
