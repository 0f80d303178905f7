// A filter that keeps the rows with one of some texts in a column, both of which the configuration names.
#include "filter_plugin.h"

typedef filter_plugin_string_t text;
#include "plugin.h"

static texts values;

void exports_concord_plugin_describe_describe(exports_concord_plugin_describe_description_t *description) {
    memset(description, 0, sizeof *description);
    description->name = constant("region");
    description->version = constant("0.1.0");
    description->summary = constant("Rows with one of some texts in a column belong at the node");
    description->config_schema =
        constant("{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"column\", \"values\"],"
                 " \"properties\": {\"column\": {\"type\": \"string\"},"
                 " \"values\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}}}}");
}

bool exports_concord_plugin_filter_open(exports_concord_plugin_filter_context_t *context,
                                        filter_plugin_list_string_t *columns,
                                        exports_concord_plugin_filter_problem_t *why) {
    texts column = configured(context->config, "column");
    size_t place;
    if (!place_of(context, column.ptr[0], &place, why)) return false;
    values = configured(context->config, "values");
    // Of each row it is shown this one value.
    columns->ptr = column.ptr;
    columns->len = 1;
    keep();
    return true;
}

void exports_concord_plugin_filter_judge(exports_concord_plugin_filter_list_row_t *rows,
                                         exports_concord_plugin_filter_list_result_verdict_problem_t *answers) {
    answers->len = rows->len;
    answers->ptr = reserve(answers->len * sizeof *answers->ptr);
    for (size_t at = 0; at < rows->len; at++) {
        const concord_plugin_types_value_t *value = &rows->ptr[at].ptr[0];
        bool keeps = value->tag == CONCORD_PLUGIN_TYPES_VALUE_TEXT && among(values, value->val.text);
        answers->ptr[at].is_err = false;
        answers->ptr[at].val.ok.tag =
            keeps ? EXPORTS_CONCORD_PLUGIN_FILTER_VERDICT_KEEP : EXPORTS_CONCORD_PLUGIN_FILTER_VERDICT_DROP;
    }
}
