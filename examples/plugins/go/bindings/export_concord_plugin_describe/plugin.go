// Package export_concord_plugin_describe is where the bindings look for what the plugin exports.
package export_concord_plugin_describe

import "wit_component/plugin"

var Describe = plugin.Describe
