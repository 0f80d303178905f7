// A resolver in AssemblyScript that answers the latest version as it came, or does what the version's note says.
import * as abi from './canonical';
export { cabi_realloc, answered } from './canonical';

export function describe(): usize {
  return abi.description('mirror', 'What it is given, as it is', '{"type": "object"}');
}

export function open(
  _name: usize, _nameLength: usize, _columns: usize, _count: usize, config: usize, length: usize, _facts: usize, _factsCount: usize,
): usize {
  const words = abi.text(config, length);
  if (words.includes('"error"')) throw new Error('an error on purpose');
  if (!words.includes('"problem"')) return abi.needsNothing();
  const result = abi.reserve(44);
  poison(result);
  return result;
}

function poison(result: usize): void {
  abi.problem(result, 'bad-note', 'the note is poison', 'note');
  store<u8>(result, 1, 32);
  abi.put(result + 36, 'a hint');
}

export function resolve(conflicts: usize, count: usize): usize {
  const answers = abi.answers(count);
  for (let at: usize = 0; at < count; at++) one(conflicts + at * abi.CONFLICT, answers, at);
  return answers;
}

function one(conflict: usize, answers: usize, at: usize): void {
  const latest = load<usize>(conflict, abi.VERSIONS) + <usize>load<u32>(conflict, abi.LATEST) * abi.VERSION;
  if (!load<u8>(latest, abi.ROW)) return abi.remove(answers, at);
  const row = load<usize>(latest, abi.ROW + 4), count = load<usize>(latest, abi.ROW + 8), second = row + abi.VALUE;
  const note = load<u8>(second) == abi.TEXT ? abi.text(load<usize>(second, 8), load<usize>(second, 12)) : '';
  if (note == 'problem') return poison(abi.answer(answers, at));
  if (note == 'error') throw new Error('an error on purpose');
  if (note == 'endless') while (true) {}
  if (note == 'memory') while (true) memory.fill(abi.reserve(1 << 20), 1, 1 << 20);
  const merged = abi.reserve(count * abi.VALUE);
  for (let k: usize = 0; k < count; k++) {
    const from = row + k * abi.VALUE, to = merged + k * abi.VALUE, tag = load<u8>(from);
    memory.copy(to, from, abi.VALUE);
    if (isList(tag)) {
      // A list of its own, of what came.
      const length = load<usize>(from, 12), bytes = abi.reserve(length);
      memory.copy(bytes, load<usize>(from, 8), length);
      store<usize>(to, bytes, 8);
    }
    if (note == 'more' && tag == abi.INTEGER && load<i64>(to, 8) > 1) store<i64>(to, load<i64>(to, 8) + 1, 8);
  }
  abi.merged(answers, at, merged, count);
}

// Decimals, texts, bytes, documents and uuids.
function isList(tag: u8): bool {
  return (tag >= 5 && tag <= abi.BYTES) || tag == 12 || tag == 13;
}
