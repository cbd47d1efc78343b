#!/usr/bin/env python3
"""Verifies a cortex-ledger ledger: its directory, or a file of record lines. It implements format.md, with nothing
but the standard library of Python 3.9 or newer: integrity. It knows no checkpoints, keys or witnesses. Prints `seq code
where` for each problem. Exit code 0: none, 1: some, 2: misuse.

    python3 verify.py LEDGER_DIR|FILE.jsonl [--json] [--canonical] [--origin ORIGIN]
"""
import argparse, base64, calendar, decimal, hashlib, json, os, re, sys
from collections import deque, namedtuple

# --- The line and its parts: sections "The line" to "Signatures of a record" -----------------------------------------
TEXT = rb'"(?:[^"\\\x00-\x1f\x7f\xc2]|\xc2[^\x80-\x9f]|\\["\\])+"'
MEMBER = re.compile(rb'[{,]"([a-z][a-z0-9_]*)":(%s|(?:0|[1-9][0-9]{0,15})|\[%s(?:,%s)*\])(?=[,}])' % (TEXT, TEXT, TEXT))
SIG = rb'\{"key":"[0-9a-f]{8}","alg":"(?:ed25519|rsa-pss-sha256)","sig":"[A-Za-z0-9+/]+={0,2}"\}'
REST = re.compile(rb'(?:,"signatures":(\[%s(?:,%s)*\]))?(?:,"entry":null\}|,("salt":"[A-Za-z0-9_-]{21}[AQgw]","entry":(\{.*\}))\})'
                  % (SIG, SIG), re.S)
HEX = re.compile('[0-9a-f]{64}')
TIME = re.compile(r'([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}\.[0-9]{6}Z')
KEYS = {**dict.fromkeys('action actor entry_hash outcome previous_hash recorded_at run_id stream timestamp type'.split(), str),
        **dict.fromkeys('schema seq stream_version v'.split(), int)}
OPTIONAL = {'append_last_seq': int, 'causation_id': str, 'correlation_id': str, 'signers': list, 'tags': list}
OUTCOMES = 'success failure denied cancelled timeout unknown'.split()
OWN_TYPES = ('LedgerCreated KeyAdded KeyRetired SnapshotTaken SegmentSealed EntriesArchived EntriesRestored EntryErased '
             'LegalHoldPlaced LegalHoldReleased ClockMovedBack RecordingGapDetected').split()


def need(condition, what='grammar'):
    if not condition:
        raise ValueError(what)
    return condition


def is_time(text):
    match = TIME.fullmatch(text)
    return match and 1 <= int(match[3]) <= calendar.monthrange(int(match[1]), int(match[2]))[1]


def is_origin(text):
    return len(text.encode()) <= 255 and re.fullmatch(r'(?!cortex-ledger/)[^\s+\x00-\x1f\x7f-\x9f\ufeff]+', text)


def utf16(text):
    return text.encode('utf-16-be', 'surrogatepass')


def parse_header(line):
    """The header that starts at byte 84, and where it ends."""
    at, header, last = 84, {}, ''
    while at == 84 or line[at] != 0x7d:
        match = need(MEMBER.match(line, at))
        last, key = match[1].decode(), last
        need((line[at] == 0x7b) == (at == 84) and last > key, 'order of keys')
        at, value = match.end(), json.loads(match[2])
        items = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        need(len(items) <= 64 and all(len(item.encode()) <= 512 for item in items), last)
        need(all(utf16(a) < utf16(b) for a, b in zip(items, items[1:])), last)
        need(not isinstance(value, int) or value < 2**53, last)
        header[last] = value
    for key, kind in {**KEYS, **OPTIONAL}.items():
        need(isinstance(header[key], kind) if key in header else key in OPTIONAL, key)
    need(at + 1 - 84 <= 16384 and header['v'] == 1 and header['outcome'] in OUTCOMES and header['schema'] >= 1)
    need(HEX.fullmatch(header['entry_hash']) and is_time(header['recorded_at']) and is_time(header['timestamp']))
    need(HEX.fullmatch(header['previous_hash']) if header['seq'] else header['previous_hash'] == 'GENESIS')
    need(header.get('append_last_seq', header['seq']) >= header['seq'])
    return header, at + 1


def parse_later_header(raw):
    header = json.loads(raw)
    need(isinstance(header['v'], int) and header['v'] > 1 and isinstance(header['seq'], int) and 0 <= header['seq'] < 2**53)
    need(HEX.fullmatch(header['previous_hash']) or header['previous_hash'] == 'GENESIS')
    return header


class Number(float):
    """A JSON number."""


def refuse(token):
    raise ValueError(token)


def canonical(value):
    if isinstance(value, dict):
        return '{%s}' % ','.join(canonical(key) + ':' + canonical(value[key]) for key in sorted(value, key=utf16))
    if isinstance(value, list):
        return '[%s]' % ','.join(map(canonical, value))
    if not isinstance(value, Number):
        return json.dumps(value, ensure_ascii=False)
    need(abs(value) < 2**53 or 1e21 <= abs(value) < float('inf'), 'number')
    sign, digits, exponent = decimal.Decimal(float.__repr__(value)).normalize().as_tuple()
    text, point = ''.join(map(str, digits)), len(digits) + exponent  # the number is 0.text × 10^point
    if value == 0:
        return '0'
    if 0 < point <= 21:
        text = text.ljust(point, '0')[:point] + ('.' + text[point:] if text[point:] else '')
    elif -6 < point <= 0:
        text = '0.' + '0' * -point + text
    else:
        text = text[0] + ('.' + text[1:] if text[1:] else '') + 'e%+d' % (point - 1)
    return '-' * sign + text


def check_entry(raw):
    """The one JSON object that the slice is."""
    text, depth = raw.decode(), 0
    for bracket in re.findall(r'[][{}]', re.sub(r'"(?:[^"\\]|\\.)*"', '', text)):
        depth += 1 if bracket in '[{' else -1
        need(depth <= 64 and len(raw) <= 2**24, 'depth or size')
    return json.loads(text, parse_constant=refuse, parse_int=Number, parse_float=Number)


def check_rest(rest, header, spelling):
    """What stands behind the header: the fault or None, and the entry or None."""
    signatures, committed, entry = need(REST.fullmatch(rest)).groups()
    signatures = json.loads(signatures or '[]')
    need([one['key'] for one in signatures] == header.get('signers', []), 'signers')
    for one in signatures:
        sig = base64.b64decode(one['sig'], validate=True)
        need(base64.b64encode(sig).decode() == one['sig'], 'base64')
        need(len(sig) == 64 if one['alg'] == 'ed25519' else 256 <= len(sig) <= 2048, 'length of the signature')
    if entry is None:
        return None, None
    value = check_entry(entry)
    if hashlib.sha256(committed).hexdigest() != header['entry_hash']:
        return 'entry_mismatch', value
    try:
        return None if not spelling or canonical(value).encode() == entry else 'entry_not_canonical', value
    except ValueError:
        return 'entry_not_canonical', value


# A line that has a place in the chain (`header` is None for a later version), and one that has none.
Record = namedtuple('Record', 'seq previous hash header entry fault where promised')
Stray = namedtuple('Stray', 'fault where links')


def parse_line(line, where, promised, spelling):
    header = end = None
    if len(line) > 17 * 2**20 or not re.match(rb'\{"hash":".{64}","header":\{', line, re.S):
        return Stray('malformed_record', where, [])
    try:
        header, end = parse_header(line)
        line[84:end].decode()
    except (ValueError, IndexError):
        header, found = None, re.compile(rb'\}(?=,"[se])').search(line, 84, 84 + 16387)
        if not found:
            return Stray('malformed_record', where, [])
        end = found.end()
    stated, actual = line[9:73].decode('latin-1'), hashlib.sha256(b'\0' + line[84:end]).hexdigest()
    if stated != actual:
        return Stray('hash_mismatch', where, [stated, actual]) if HEX.fullmatch(stated) else Stray('malformed_record', where, [actual])
    try:
        place = header or parse_later_header(line[84:end].decode())
    except (ValueError, KeyError, TypeError, RecursionError):
        return Stray('malformed_record', where, [actual])
    try:
        fault, entry = check_rest(line[end:], header, spelling) if header else (None, {})
    except (ValueError, RecursionError):
        fault, entry = 'malformed_record', {}
    promised = None if promised == place['seq'] else promised
    return Record(place['seq'], place['previous_hash'], actual, header, entry, fault, where, promised)


# --- The ledger: section "Verification" ------------------------------------------------------------------------------
BEFORE_ALL = Record(-1, '', 'GENESIS', None, {}, None, None, None)
LOOSELY, FIRMLY, END = 1, 2, float('inf')


def fit(tail, strays, record):
    gap = record.seq - tail.seq - 1
    if gap == 0:
        return FIRMLY if record.previous == tail.hash else 0
    if gap < 0 or gap > len(strays):
        return 0
    links = strays[-1].links if gap == len(strays) else []
    return LOOSELY if not links else FIRMLY if record.previous in links else 0


def named_spans(entry):
    """The positions that a naming record's entry names, as first and last."""
    parts = [entry] + [one for key in ('records', 'ranges') if isinstance(entry.get(key), list) for one in entry[key]]
    for part in (part for part in parts if isinstance(part, dict)):
        seqs = part.get('seqs') if isinstance(part.get('seqs'), list) else []
        for span in [(part.get('seq'),) * 2, (part.get('first_seq'), part.get('last_seq')), *((one, one) for one in seqs)]:
            if all(isinstance(one, Number) and one.is_integer() and 0 <= one < 2**53 for one in span):
                yield span


class Verifier:
    def __init__(self, lines, origin):
        self.lines, self.origin, self.problems, self.tail, self.head = deque(lines), origin, [], BEFORE_ALL, BEFORE_ALL
        self.breaks, self.time, self.append, self.append_breaks = 0, '', None, 0
        self.run_ids, self.streams, self.withheld, self.named, self.names_lost = set(), {}, [], [], False
        while self.lines:
            self.step()
        if self.append:
            self.report('incomplete_append', self.append[0], self.append[2])
        self.report_unnamed()

    def report(self, code, seq, where):
        self.problems.append({'code': code, 'seq': seq, 'where': where})

    def report_strays(self, strays, first, last):
        for index, stray in enumerate(strays):
            self.report(stray.fault, max(first, min(first + index, last)), stray.where)

    def next_strays(self):
        strays = []
        while self.lines and isinstance(self.lines[0], Stray):
            strays.append(self.lines.popleft())
        return strays

    def step(self):
        """Finds out where the next record stands ("Where each record stands"); `one` is R there, `other` is N."""
        strays, tail, first = self.next_strays(), self.tail, self.tail.seq + 1
        place = first + len(strays)
        if not self.lines:
            self.report_strays(strays, first, END)
            return self.note_break()
        one = self.lines.popleft()
        if fit(tail, strays, one):
            self.report_strays(strays, first, one.seq - 1)
            return self.accept(one, one.seq == first)
        behind, other = self.next_strays(), self.lines[0] if self.lines else None
        with_one, without_one = (fit(one, behind, other), fit(tail, strays + behind, other)) if other else (0, one.seq <= tail.seq)
        slipped_in = without_one and without_one >= with_one
        if slipped_in or other and not with_one and 0 <= other.seq - place - 1 <= len(behind):
            end = other.seq if other else END
            spot = min(place, end) if slipped_in else place
            self.report_strays(strays, first, (end if slipped_in else place) - 1)
            self.report('unexpected_record', spot, one.where)
            self.report_strays(behind, spot if slipped_in and other else spot + 1, end - 1)
            return self.accept(self.lines.popleft(), slipped_in and other.seq == first) if other else self.note_break()
        self.lines.extendleft(reversed(behind))
        self.report_strays(strays, first, (one.seq if first <= one.seq <= place else place) - 1)
        if first <= one.seq <= place:
            self.report('chain_broken', one.seq, one.where)
        elif one.promised is None and one.seq > place:
            self.report('missing_records', place, one.where)
        elif one.promised is None and with_one and one.seq == tail.seq and not strays and one.previous == tail.previous:
            self.report('unexpected_record', tail.seq, tail.where)
        elif one.promised is None:
            self.report('unexpected_record', place, one.where)
        self.accept(one, False, place)

    def note_break(self):
        self.breaks, self.append = self.breaks + 1, None

    def accept(self, one, follows, place=None):
        if not follows:
            self.note_break()
        if one.promised is not None:
            self.report('segment_misplaced', place if one.promised == place and one.seq > place else one.seq, one.where)
        if one.fault:
            self.report(one.fault, one.seq, one.where)
        if one.seq > self.head.seq:
            self.head = one
            self.note_break() if one.header is None else self.check_together(one, one.header, follows)
        self.tail = one

    def check_together(self, one, header, follows):
        kind, stream, seq, entry = header['type'], header['stream'], one.seq, one.entry
        own = stream == 'ledger'
        found = []
        if follows and header['recorded_at'] < self.time and kind != 'ClockMovedBack':
            found.append('clock_moved_back')
        if seq == 0 and not (kind == 'LedgerCreated' and is_origin(header['actor']) and self.origin in (None, header['actor'])):
            found.append('wrong_origin')
        if self.breaks_append(header.get('append_last_seq'), seq, one.where):
            found.append('incomplete_append')
        if own != (kind in OWN_TYPES) or own and entry is None:
            found.append('reserved_misused')
        if header['run_id'] in self.run_ids:
            found.append('duplicate_run_id')
        version, breaks = self.streams.get(stream, (-1, 0))
        if header['stream_version'] != version + 1 and breaks == self.breaks:
            found.append('stream_version_gap')
        for code in found:
            self.report(code, seq, one.where)
        self.time = header['recorded_at']
        self.run_ids.add(header['run_id'])
        self.streams[stream] = header['stream_version'], self.breaks
        self.names_lost |= own and one.fault is not None
        if entry is None and not own:
            self.withheld.append(seq)
        if own and entry and not one.fault and kind in ('EntryErased', 'EntriesArchived', 'EntriesRestored'):
            self.named += [(kind, first, last) for first, last in named_spans(entry) if first < seq]

    def breaks_append(self, last, seq, where):
        """True where the record is the last of an append of which nothing else is there."""
        belongs, alone = self.append and self.append[1] == last, False
        if self.append and not belongs:
            self.report('incomplete_append', self.append[0], self.append[2])
        if not belongs or seq == last:
            alone = not belongs and last == seq and self.append_breaks == self.breaks
            self.append = (seq, last, where) if last is not None and last > seq else None
        self.append_breaks = self.breaks
        return alone

    def report_unnamed(self):
        ranges = []
        for seq in self.withheld:
            claims = [kind for kind, first, last in self.named if first <= seq <= last]
            if 'EntryErased' in claims or claims and claims[-1] == 'EntriesArchived':
                continue
            if not ranges or ranges[-1][-1] != seq - 1:
                ranges.append([])
            ranges[-1].append(seq)
        for named in ranges[:1] if self.breaks or self.names_lost else ranges:
            self.report('withheld_unnamed', named[0], None)


def verify_files(files, origin=None, spelling=False):
    """files: of each its name, the position that the name promises for its first record (or None), and its bytes."""
    lines = []
    for name, promised, data in files:
        *whole, rest = data.split(b'\n')
        at = 0
        for line in whole:
            lines.append(parse_line(line, {'file': name, 'byte': at}, promised if at == 0 else None, spelling))
            at += len(line) + 1
        if rest:
            lines.append(Stray('torn_tail' if name == files[-1][0] else 'unended_segment', {'file': name, 'byte': at}, []))
    verifier = Verifier(lines, origin)
    head = verifier.head.hash if verifier.head.seq >= 0 else None
    return {'ok': not verifier.problems, 'size': verifier.head.seq + 1, 'head': head, 'problems': verifier.problems}


def read_files(path):
    paths = [(path, os.path.basename(path), None)]
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(os.path.join(path, 'segments')) if re.fullmatch(r'[0-9]{20}\.jsonl', name))
        paths = [(os.path.join(path, 'segments', name), 'segments/' + name, int(name[:20])) for name in names]
    files = []
    for place, name, promised in paths:
        with open(place, 'rb') as file:
            files.append((name, promised, file.read()))
    return files


def main():
    parser = argparse.ArgumentParser(description='Verifies a cortex-ledger ledger, or a file of record lines.')
    parser.add_argument('ledger')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    parser.add_argument('--canonical', action='store_true', help='check the spelling of entries too')
    parser.add_argument('--origin', help='the origin that the ledger must have')
    args = parser.parse_args()
    try:
        files = read_files(args.ledger)
    except OSError as error:
        parser.error(str(error))
    report = verify_files(files, args.origin, args.canonical)
    if args.json:
        print(json.dumps(report))
    else:
        for problem in report['problems']:
            print(problem['seq'], problem['code'], problem['where'] or '')
        print('ok' if report['ok'] else 'NOT OK', report['size'], 'records, head', report['head'])
    return 0 if report['ok'] else 1


if __name__ == '__main__':
    sys.exit(main())
