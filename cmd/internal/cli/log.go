package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
)

// NewLogger gives the logger for stderr: format "json" is one object a line, for machines that collect
// logs; else it is lines in the form of all that the programs say: "molten-prehook: warning: text (key value)".
func NewLogger(w io.Writer, program, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil)).With("program", program)
	}
	return slog.New(&lineHandler{w: w, program: program, mu: new(sync.Mutex)})
}

// lineHandler writes records for people; the time is left to whoever keeps the log.
type lineHandler struct {
	w       io.Writer
	program string
	mu      *sync.Mutex // a line at a time
	group   string
	attrs   []string
}

// Enabled implements slog.Handler: what is said to people is worth their time.
func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// Handle implements slog.Handler.
func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	level := ""
	switch {
	case r.Level >= slog.LevelError:
		level = "error: "
	case r.Level >= slog.LevelWarn:
		level = "warning: "
	}
	attrs := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs[:len(attrs):len(attrs)], h.attr(a)...)
		return true
	})
	text := h.program + ": " + level + r.Message
	if len(attrs) > 0 {
		text += " (" + strings.Join(attrs, ", ") + ")"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, Printable(text)+"\n")
	return err
}

// WithAttrs implements slog.Handler.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		c.attrs = append(c.attrs, h.attr(a)...)
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

func (h *lineHandler) attr(a slog.Attr) []string {
	v := a.Value.Resolve() // a secret resolves to [redacted]
	if a.Equal(slog.Attr{}) {
		return nil
	}
	if v.Kind() != slog.KindGroup {
		return []string{fmt.Sprintf("%s%s %v", h.group, a.Key, v)}
	}
	var list []string
	inner := *h
	if a.Key != "" {
		inner.group += a.Key + "."
	}
	for _, member := range v.Group() {
		list = append(list, inner.attr(member)...)
	}
	return list
}
