// Package plugin is a resolver in Go that answers the latest version as it came, or does what the version's note says.
package plugin

import (
	"bytes"
	"strings"

	"wit_component/concord_plugin_describe"
	"wit_component/concord_plugin_resolver"
	. "wit_component/concord_plugin_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

type (
	conflict   = concord_plugin_resolver.Conflict
	needs      = concord_plugin_resolver.Needs
	resolution = concord_plugin_resolver.Resolution
	answer     = wit.Result[resolution, Problem]
)

var poison = Problem{
	Code: "bad-note", Message: "the note is poison", Column: wit.Some("note"), Hint: wit.Some("a hint"),
}

func Describe() concord_plugin_describe.Description {
	return concord_plugin_describe.Description{
		Name: "mirror", Version: "0.1.0", Summary: "What it is given, as it is", ConfigSchema: `{"type": "object"}`,
	}
}

func Open(context Context) wit.Result[needs, Problem] {
	if strings.Contains(context.Config, `"error"`) {
		panic("an error on purpose")
	}
	if strings.Contains(context.Config, `"problem"`) {
		return wit.Err[needs](poison)
	}
	return wit.Ok[needs, Problem](needs{})
}

func Resolve(conflicts []conflict) []answer {
	answers := make([]answer, len(conflicts))
	for at, conflict := range conflicts {
		answers[at] = one(conflict)
	}
	return answers
}

func one(conflict conflict) answer {
	latest := conflict.Versions[conflict.Latest].Row
	if latest.IsNone() {
		return wit.Ok[resolution, Problem](concord_plugin_resolver.MakeResolutionDelete())
	}
	row, note := latest.Some(), ""
	if row[1].Tag() == ValueText {
		note = row[1].Text()
	}
	switch note {
	case "problem":
		return wit.Err[resolution](poison)
	case "error":
		panic("an error on purpose")
	case "endless":
		for {
		}
	case "memory":
		var kept [][]byte
		for {
			kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
		}
	}
	merged := make([]Value, len(row))
	for at, value := range row {
		merged[at] = copied(value)
		if note == "more" && value.Tag() == ValueInteger && value.Integer() > 1 {
			merged[at] = MakeValueInteger(value.Integer() + 1)
		}
	}
	return wit.Ok[resolution, Problem](concord_plugin_resolver.MakeResolutionMerged(merged))
}

// copied is a value of its own, of what came.
func copied(value Value) Value {
	switch value.Tag() {
	case ValueBoolean:
		return MakeValueBoolean(value.Boolean())
	case ValueInteger:
		return MakeValueInteger(value.Integer())
	case ValueUnsigned:
		return MakeValueUnsigned(value.Unsigned())
	case ValueFloat:
		return MakeValueFloat(value.Float())
	case ValueDecimal:
		return MakeValueDecimal(strings.Clone(value.Decimal()))
	case ValueText:
		return MakeValueText(strings.Clone(value.Text()))
	case ValueBytes:
		return MakeValueBytes(bytes.Clone(value.Bytes()))
	case ValueDate:
		return MakeValueDate(value.Date())
	case ValueTime:
		return MakeValueTime(value.Time())
	case ValueTimestamp:
		return MakeValueTimestamp(value.Timestamp())
	case ValueInstant:
		return MakeValueInstant(value.Instant())
	case ValueJson:
		return MakeValueJson(strings.Clone(value.Json()))
	case ValueUuid:
		return MakeValueUuid(strings.Clone(value.Uuid()))
	}
	return MakeValueNull()
}
