package pool

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Op is how a requirement compares.
type Op string

// The comparisons. An unset property meets nothing but OpAbsent.
const (
	OpIs      Op = "is"      // key=v[,v]: one of the values
	OpNot     Op = "not"     // key:not=v[,v]: set, and none of the values
	OpMin     Op = "min"     // key:min=N
	OpMax     Op = "max"     // key:max=N
	OpPresent Op = "present" // key
	OpAbsent  Op = "absent"  // key:absent
)

// Requirement is one condition on a node. Make it with ParseRequirement.
type Requirement struct {
	Key    string
	Op     Op
	Values []string // OpIs and OpNot: one or more; OpMin and OpMax: one whole number
}

var keyPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// ParseRequirement reads EXPR as the hooks' --require takes it: key=v[,v], key:not=v[,v], key:min=N,
// key:max=N, key, key:absent, and the forms that want quotes in a shell: key!=v, key>=N, key<=N.
// The error (class ErrInvalid) names the expression and the mend.
func ParseRequirement(expr string) (Requirement, error) {
	r, err := parseRequirement(expr)
	if err != nil {
		return Requirement{}, fail(ErrInvalid, "requirement %q: %w", expr, err)
	}
	return r, nil
}

func parseRequirement(expr string) (Requirement, error) {
	var none Requirement
	end := strings.IndexFunc(expr, func(c rune) bool { return strings.ContainsRune("=:!<>", c) })
	key, rest := expr, ""
	if end >= 0 {
		key, rest = expr[:end], expr[end:]
	}
	if !keyPattern.MatchString(key) {
		return none, fmt.Errorf("%q is no key: lower-case letters, digits and _ only, as in arch=x86_64", key)
	}
	f, isField := fieldByName(key)
	if isField && !f.Requirable {
		return none, fmt.Errorf("%s cannot be asked for; what can are properties and %s", key, requirableNames())
	}
	numeric := isField && f.Kind == KindNumber

	var r Requirement
	switch {
	case rest == "" && numeric:
		return none, fmt.Errorf("a bare number field asks for nothing; the shell ate what follows > or <: write %s:min=N or %s:max=N", key, key)
	case rest == "":
		return Requirement{Key: key, Op: OpPresent}, nil
	case rest == ":absent":
		return Requirement{Key: key, Op: OpAbsent}, nil
	case strings.HasPrefix(rest, ":not="):
		r = Requirement{key, OpNot, strings.Split(rest[len(":not="):], ",")}
	case strings.HasPrefix(rest, "!="):
		r = Requirement{key, OpNot, strings.Split(rest[len("!="):], ",")}
	case strings.HasPrefix(rest, ":min="):
		r = Requirement{key, OpMin, []string{rest[len(":min="):]}}
	case strings.HasPrefix(rest, ">="):
		r = Requirement{key, OpMin, []string{rest[len(">="):]}}
	case strings.HasPrefix(rest, ":max="):
		r = Requirement{key, OpMax, []string{rest[len(":max="):]}}
	case strings.HasPrefix(rest, "<="):
		r = Requirement{key, OpMax, []string{rest[len("<="):]}}
	case strings.HasPrefix(rest, "="):
		r = Requirement{key, OpIs, strings.Split(rest[len("="):], ",")}
	default:
		return none, fmt.Errorf("cannot read %q after the key; use =v, :not=v, :min=N, :max=N or :absent", rest)
	}

	if isField && !numeric && (r.Op == OpMin || r.Op == OpMax) {
		return none, fmt.Errorf("%s is no number, so it has no min and no max", key)
	}
	for i, v := range r.Values {
		if err := checkPlain("the value", v, maxPropertyValue); err != nil {
			return none, err
		}
		if v == "" {
			return none, fmt.Errorf("a value is empty; to ask that a key is not set write %s:absent", key)
		}
		if numeric || r.Op == OpMin || r.Op == OpMax {
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return none, fmt.Errorf("%q is no whole number", v)
			}
			r.Values[i] = strconv.FormatInt(n, 10)
		}
	}
	switch key { // compared as they are stored
	case "mac":
		for i, v := range r.Values {
			mac, err := normalMAC(v)
			if err != nil {
				return none, err
			}
			r.Values[i] = mac
		}
	case "ip":
		for i, v := range r.Values {
			ip, err := normalIP(v)
			if err != nil {
				return none, err
			}
			r.Values[i] = ip
		}
	}
	return r, nil
}

// String writes the requirement in the form that is safe in a shell; ParseRequirement reads it back.
func (r Requirement) String() string {
	switch r.Op {
	case OpPresent:
		return r.Key
	case OpAbsent:
		return r.Key + ":absent"
	case OpIs:
		return r.Key + "=" + strings.Join(r.Values, ",")
	default:
		return r.Key + ":" + string(r.Op) + "=" + strings.Join(r.Values, ",")
	}
}

// MarshalText implements encoding.TextMarshaler: the form of String.
func (r Requirement) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; its errors are those of ParseRequirement.
func (r *Requirement) UnmarshalText(text []byte) error {
	parsed, err := ParseRequirement(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// met reports whether a node that answers to lookup meets the requirement.
func (r Requirement) met(lookup func(key string) []string) bool {
	have := lookup(r.Key)
	switch r.Op {
	case OpAbsent:
		return len(have) == 0
	case OpPresent:
		return len(have) > 0
	case OpIs:
		return slices.ContainsFunc(have, func(v string) bool { return slices.Contains(r.Values, v) })
	case OpNot:
		return len(have) > 0 && !slices.ContainsFunc(have, func(v string) bool { return slices.Contains(r.Values, v) })
	}
	limit, err := strconv.ParseInt(r.Values[0], 10, 64)
	if err != nil {
		return false
	}
	for _, v := range have {
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil && (r.Op == OpMin && n >= limit || r.Op == OpMax && n <= limit) {
			return true
		}
	}
	return false
}

var groupPattern = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

func isGroupName(s string) bool { return len(s) <= maxName && groupPattern.MatchString(s) }

// ParseGroup reads NAME=COUNT[:EXPR+EXPR…] as the hooks' --group takes it. Expressions are those of
// ParseRequirement. The error (class ErrInvalid) names the group and the mend.
func ParseGroup(s string) (Group, error) {
	name, rest, ok := strings.Cut(s, "=")
	if !ok || !isGroupName(name) {
		return Group{}, fail(ErrInvalid, "group %q: write NAME=COUNT[:EXPR+EXPR…], as in compute=3:arch=x86_64+gpu:absent", s)
	}
	digits, exprs, more := strings.Cut(rest, ":")
	count, err := strconv.Atoi(digits)
	if err != nil || count < 1 {
		return Group{}, fail(ErrInvalid, "group %q: %q is no count of 1 or more", s, digits)
	}
	g := Group{Name: name, Count: count}
	if more {
		for expr := range strings.SplitSeq(exprs, "+") {
			r, err := ParseRequirement(expr)
			if err != nil {
				return Group{}, fail(ErrInvalid, "group %q: %w", name, err)
			}
			g.Require = append(g.Require, r)
		}
	}
	return g, nil
}
