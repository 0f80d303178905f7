// Package plugin is a resolver that takes the version with the shortest text in a column, which the configuration names.
package plugin

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"wit_component/concord_plugin_describe"
	"wit_component/concord_plugin_resolver"
	"wit_component/concord_plugin_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

type (
	description = concord_plugin_describe.Description
	conflict    = concord_plugin_resolver.Conflict
	version     = concord_plugin_resolver.Version
	needs       = concord_plugin_resolver.Needs
	resolution  = concord_plugin_resolver.Resolution
	context     = concord_plugin_types.Context
	problem     = concord_plugin_types.Problem
)

var place int

func Describe() description {
	return description{
		Name:    "shortest",
		Version: "0.1.0",
		Summary: "The version with the shortest text in a column wins",
		ConfigSchema: `{"type": "object", "additionalProperties": false, "required": ["column"],
			"properties": {"column": {"type": "string"}}}`,
	}
}

func Open(context context) wit.Result[needs, problem] {
	var config struct{ Column string }
	if err := json.Unmarshal([]byte(context.Config), &config); err != nil {
		return wit.Err[needs](problem{Code: "config", Message: err.Error()})
	}
	for at, column := range context.Table.Columns {
		if column.Name == config.Column {
			place = at
			return wit.Ok[needs, problem](needs{})
		}
	}
	return wit.Err[needs](problem{
		Code:    "unknown-column",
		Message: fmt.Sprintf("`%s` has no such column", context.Table.Name),
		Column:  wit.Some(config.Column),
	})
}

func Resolve(conflicts []conflict) []wit.Result[resolution, problem] {
	answers := make([]wit.Result[resolution, problem], len(conflicts))
	for at, one := range conflicts {
		best := 0
		for other := range one.Versions {
			if before(one, other, best) {
				best = other
			}
		}
		answers[at] = wit.Ok[resolution, problem](concord_plugin_resolver.MakeResolutionTake(uint32(best)))
	}
	return answers
}

// before says whether the version at one place comes before that at another. Of equals the latest: nobody's place may matter.
func before(conflict conflict, one, other int) bool {
	first, second := conflict.Versions[one], conflict.Versions[other]
	if length(first) != length(second) {
		return length(first) < length(second)
	}
	if first.Time != second.Time {
		return first.Time > second.Time
	}
	return one == int(conflict.Latest)
}

// length is in characters; a row without the text, or no row at all, has the shortest.
func length(version version) int {
	if version.Row.IsNone() {
		return 0
	}
	value := version.Row.Some()[place]
	if value.Tag() != concord_plugin_types.ValueText {
		return 0
	}
	return utf8.RuneCountInString(value.Text())
}
