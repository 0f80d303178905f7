// A resolver that takes the version with the shortest text in a column, which the configuration names.
//
// AssemblyScript has no bindings for components: what the interface says lies in memory as the canonical ABI has it, and canonical.ts
// reads it there.
import * as abi from './canonical';
export { cabi_realloc, answered } from './canonical';

let place: usize = 0;

export function describe(): usize {
  return abi.description(
    'shortest',
    'The version with the shortest text in a column wins',
    '{"type": "object", "additionalProperties": false, "required": ["column"], "properties": {"column": {"type": "string"}}}',
  );
}

// The parts of the context one by one: the table's name and columns, the configuration, the facts.
export function open(
  _name: usize, _nameLength: usize, columns: usize, count: usize, config: usize, length: usize, _facts: usize, _factsCount: usize,
): usize {
  // {"column":"…"} by the schema, and nothing else.
  const words = abi.text(config, length), parts = words.split('"');
  if (parts.length != 5 || words.includes('\\')) {
    return abi.refuses('column-name', 'the name of the column needs no escapes', words);
  }
  for (place = 0; place < count; place++) {
    const name = columns + place * abi.COLUMN;
    if (abi.text(load<usize>(name), load<usize>(name, 4)) == parts[3]) return abi.needsNothing();
  }
  return abi.refuses('unknown-column', 'the table has no such column', parts[3]);
}

// In characters; a row without the text, or no row at all, has the shortest.
function length(version: usize): u32 {
  if (!load<u8>(version, abi.ROW)) return 0;
  const value = load<usize>(version, abi.ROW + 4) + place * abi.VALUE;
  if (load<u8>(value) != abi.TEXT) return 0;
  const start = load<usize>(value, 8), end = start + load<usize>(value, 12);
  let count = 0;
  for (let at = start; at < end; at++) count += i32((load<u8>(at) & 0xc0) != 0x80);
  return count;
}

function shortest(conflict: usize): u32 {
  const versions = load<usize>(conflict, abi.VERSIONS), count = load<usize>(conflict, abi.VERSIONS + 4);
  const latest = <usize>load<u32>(conflict, abi.LATEST);
  let best: usize = 0;
  for (let at: usize = 1; at < count; at++) {
    const one = versions + at * abi.VERSION, other = versions + best * abi.VERSION;
    const first = length(one), second = length(other);
    const time = load<i64>(one, abi.TIME), otherTime = load<i64>(other, abi.TIME);
    // Of equals the latest: nobody's place in the list may matter.
    const before = first != second ? first < second : time != otherTime ? time > otherTime : at == latest;
    if (before) best = at;
  }
  return <u32>best;
}

export function resolve(conflicts: usize, count: usize): usize {
  const answers = abi.answers(count);
  for (let at: usize = 0; at < count; at++) abi.take(answers, at, shortest(conflicts + at * abi.CONFLICT));
  return answers;
}
