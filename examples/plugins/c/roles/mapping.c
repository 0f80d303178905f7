// What the bindings of a mapping want besides a C library.
#include <stdint.h>
#include <stdlib.h>

// Stands for an object file that says what the module serves; `concord plugin build --role` says it instead.
void __component_type_object_force_link_mapping_plugin(void) {}

// Called by the host once it has read the answers, in place of what the bindings would do.
__attribute__((__export_name__("cabi_post_concord:plugin/mapping@0.1.0#to-shared"))) void
__wasm_export_exports_concord_plugin_mapping_to_shared_post_return(uint8_t *answers) {
    (void)answers;
    forget();
}

__attribute__((__export_name__("cabi_post_concord:plugin/mapping@0.1.0#to-local"))) void
__wasm_export_exports_concord_plugin_mapping_to_local_post_return(uint8_t *answers) {
    (void)answers;
    forget();
}
