// A mapping of a node that keeps a name in two columns and money in cents.
#include "mapping_plugin.h"

typedef mapping_plugin_string_t text;
#include "plugin.h"

typedef concord_plugin_types_value_t value;
typedef exports_concord_plugin_mapping_row_t row;
typedef exports_concord_plugin_mapping_result_row_problem_t answer;

// The columns of the shape, and of each what it is made of: the node's column at a place, as it is or counted in cents, or the name.
static concord_plugin_types_list_column_t columns;
static struct source {
    enum { SAME, CENTS, NAME } kind;
    size_t place;
} *sources;
static size_t first, last;
// How many columns the node's table has.
static size_t width;

void exports_concord_plugin_describe_describe(exports_concord_plugin_describe_description_t *description) {
    memset(description, 0, sizeof *description);
    description->name = constant("full-name");
    description->version = constant("0.1.0");
    description->summary = constant("A name in two columns is shared as one, and cents as units");
    description->config_schema =
        constant("{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"name\", \"first\", \"last\"],"
                 " \"properties\": {\"name\": {\"type\": \"string\"}, \"first\": {\"type\": \"string\"}, \"last\": {\"type\": \"string\"},"
                 " \"cents\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}},"
                 " \"own\": {\"type\": \"array\", \"items\": {\"type\": \"string\"}}}}");
}

// Says, as a mapping may, that a column is always the same as the node's of that name.
static void copied(concord_plugin_types_column_t *column) {
    column->facts.ptr = reserve(sizeof *column->facts.ptr);
    column->facts.ptr->f0 = constant("copy-of");
    column->facts.ptr->f1 = column->name;
    column->facts.len = 1;
}

static bool all_known(const exports_concord_plugin_mapping_context_t *context, texts names,
                      exports_concord_plugin_mapping_problem_t *why) {
    size_t place;
    for (size_t at = 0; at < names.len; at++) {
        if (!place_of(context, names.ptr[at], &place, why)) return false;
    }
    return true;
}

bool exports_concord_plugin_mapping_open(exports_concord_plugin_mapping_context_t *context,
                                         exports_concord_plugin_mapping_table_t *shape,
                                         exports_concord_plugin_mapping_problem_t *why) {
    text name = configured(context->config, "name").ptr[0];
    texts cents = configured(context->config, "cents"), own = configured(context->config, "own");
    if (!place_of(context, configured(context->config, "first").ptr[0], &first, why)) return false;
    if (!place_of(context, configured(context->config, "last").ptr[0], &last, why)) return false;
    if (!all_known(context, cents, why) || !all_known(context, own, why)) return false;
    width = context->table.columns.len;
    columns.ptr = reserve(width * sizeof *columns.ptr);
    columns.len = 0;
    sources = reserve(width * sizeof *sources);
    for (size_t at = 0; at < width; at++) {
        concord_plugin_types_column_t column = context->table.columns.ptr[at];
        struct source source = {SAME, at};
        if (at == first) {
            source.kind = NAME;
            column.name = name;
            column.kind = constant("text");
        } else if (among(cents, column.name)) {
            source.kind = CENTS;
            column.kind = constant("decimal");
        } else if (at == last || among(own, column.name)) {
            continue;
        } else {
            copied(&column);
        }
        sources[columns.len] = source;
        columns.ptr[columns.len++] = column;
    }
    shape->name = context->table.name;
    shape->columns = columns;
    keep();
    return true;
}

static const value none = {.tag = CONCORD_PLUGIN_TYPES_VALUE_NULL};

static value texted(text chars) { return (value){.tag = CONCORD_PLUGIN_TYPES_VALUE_TEXT, .val.text = chars}; }

static bool is_text(const value *value) { return value->tag == CONCORD_PLUGIN_TYPES_VALUE_TEXT; }

// The two parts of a name, or the one that is there.
static value name_of(const value *local) {
    if (!is_text(&local[first])) return is_text(&local[last]) ? local[last] : none;
    if (!is_text(&local[last])) return local[first];
    text one = local[first].val.text, other = local[last].val.text, both;
    both.len = one.len + 1 + other.len;
    both.ptr = reserve(both.len);
    memcpy(both.ptr, one.ptr, one.len);
    both.ptr[one.len] = ' ';
    memcpy(both.ptr + one.len + 1, other.ptr, other.len);
    return texted(both);
}

static void put_name(const value *name, row to, const row *current) {
    // Where a name is to be divided only the node knows, as long as it is the same.
    if (current) {
        value there = name_of(current->ptr);
        if (is_text(&there) == is_text(name) && (!is_text(name) || same(there.val.text, name->val.text))) return;
    }
    to.ptr[first] = to.ptr[last] = none;
    if (!is_text(name)) return;
    text whole = name->val.text;
    to.ptr[first] = *name;
    for (size_t at = whole.len; at-- > 0;) {
        if (whole.ptr[at] != ' ') continue;
        to.ptr[first] = texted((text){whole.ptr, at});
        to.ptr[last] = texted((text){whole.ptr + at + 1, whole.len - at - 1});
        return;
    }
}

static bool units_of(const value *cents, text column, value *units, exports_concord_plugin_mapping_problem_t *why) {
    *units = none;
    if (cents->tag == CONCORD_PLUGIN_TYPES_VALUE_NULL) return true;
    if (cents->tag != CONCORD_PLUGIN_TYPES_VALUE_INTEGER) {
        return problem(why, "no-cents", "it holds no whole number of cents", column);
    }
    int64_t number = cents->val.integer;
    // The smallest number has no opposite of its own type.
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    // A sign, at most 19 digits, and a point.
    size_t size = 21, at = size;
    uint8_t *digits = reserve(size);
    for (size_t count = 0; rest > 0 || count < 3; rest /= 10) {
        digits[--at] = (uint8_t)('0' + rest % 10);
        if (++count == 2) digits[--at] = '.';
    }
    if (number < 0) digits[--at] = '-';
    units->tag = CONCORD_PLUGIN_TYPES_VALUE_DECIMAL;
    units->val.decimal = (text){digits + at, size - at};
    return true;
}

static bool cents_of(const value *units, text column, value *cents, exports_concord_plugin_mapping_problem_t *why) {
    *cents = none;
    if (units->tag != CONCORD_PLUGIN_TYPES_VALUE_DECIMAL) return true;
    text number = units->val.decimal;
    size_t at = 0, point = number.len;
    bool minus = number.len > 0 && number.ptr[0] == '-';
    for (at = minus; at < number.len; at++) {
        if (number.ptr[at] == '.' && point == number.len && at > minus) point = at;
        else if (number.ptr[at] < '0' || number.ptr[at] > '9') break;
    }
    if (at < number.len || at == minus) return problem(why, "no-number", "the node keeps no such number", column);
    size_t end = number.len;
    while (end > point && (number.ptr[end - 1] == '0' || end == point + 1)) end--;
    if (end > point + 3) return problem(why, "part-of-a-cent", "the node keeps whole cents", column);
    uint64_t most = (uint64_t)INT64_MAX + minus, sum = 0;
    for (at = minus; at < point + 3; at++) {
        if (at == point) continue;
        uint64_t digit = at < end ? number.ptr[at] - '0' : 0;
        if (sum > (most - digit) / 10) {
            return problem(why, "too-large", "the node keeps cents as a 64-bit integer", column);
        }
        sum = sum * 10 + digit;
    }
    cents->tag = CONCORD_PLUGIN_TYPES_VALUE_INTEGER;
    cents->val.integer = (int64_t)(minus ? 0 - sum : sum);
    return true;
}

// What came stays in memory until the answers are read, so they refer to it.
static void to_shared(const row *local, answer *to) {
    row shared = {reserve(columns.len * sizeof *shared.ptr), columns.len};
    to->is_err = false;
    for (size_t at = 0; at < columns.len && !to->is_err; at++) {
        const value *from = &local->ptr[sources[at].place];
        switch (sources[at].kind) {
        case SAME: shared.ptr[at] = *from; break;
        case NAME: shared.ptr[at] = name_of(local->ptr); break;
        case CENTS: to->is_err = !units_of(from, columns.ptr[at].name, &shared.ptr[at], &to->val.err); break;
        }
    }
    if (!to->is_err) to->val.ok = shared;
}

static void to_local(const row *shared, const row *current, answer *to) {
    row local = {reserve(width * sizeof *local.ptr), width};
    for (size_t at = 0; at < width; at++) local.ptr[at] = current ? current->ptr[at] : none;
    to->is_err = false;
    for (size_t at = 0; at < columns.len && !to->is_err; at++) {
        const value *from = &shared->ptr[at];
        value *there = &local.ptr[sources[at].place];
        switch (sources[at].kind) {
        case SAME: *there = *from; break;
        case NAME: put_name(from, local, current); break;
        case CENTS: to->is_err = !cents_of(from, columns.ptr[at].name, there, &to->val.err); break;
        }
    }
    if (!to->is_err) to->val.ok = local;
}

void exports_concord_plugin_mapping_to_shared(exports_concord_plugin_mapping_list_row_t *locals,
                                              exports_concord_plugin_mapping_list_result_row_problem_t *answers) {
    answers->len = locals->len;
    answers->ptr = reserve(answers->len * sizeof *answers->ptr);
    for (size_t at = 0; at < locals->len; at++) to_shared(&locals->ptr[at], &answers->ptr[at]);
}

void exports_concord_plugin_mapping_to_local(exports_concord_plugin_mapping_list_put_t *puts,
                                             exports_concord_plugin_mapping_list_result_row_problem_t *answers) {
    answers->len = puts->len;
    answers->ptr = reserve(answers->len * sizeof *answers->ptr);
    for (size_t at = 0; at < puts->len; at++) {
        const exports_concord_plugin_mapping_put_t *put = &puts->ptr[at];
        to_local(&put->shared, put->current.is_some ? &put->current.val : NULL, &answers->ptr[at]);
    }
}
