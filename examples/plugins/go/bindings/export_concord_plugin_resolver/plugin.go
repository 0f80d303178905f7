// Package export_concord_plugin_resolver is where the bindings look for what the plugin exports.
package export_concord_plugin_resolver

import "wit_component/plugin"

var (
	Open    = plugin.Open
	Resolve = plugin.Resolve
)
