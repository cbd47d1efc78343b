"""Answers, with the code of the seed document (sections 4.1 and 4.2), what the tests hold against our reading of it.

stdin: frames of one letter, a 4-byte big-endian length and that many bytes. stdout: one line of JSON for each frame.
  R  a new ledger begins; the payload says nothing
  L  one line, without its ending: what verify_ledger_integrity does at it
  F  a file: what verify_ledger_integrity does with it, and at which line decoding fails
  A  a JSON array of texts, each a Python expression of a dict: the bytes that append_entry writes for them
  D  a JSON array of texts of JSON: json.dumps(json.loads(text), sort_keys=True) of each
"""
import base64, hashlib, json, os, struct, sys, tempfile
from pathlib import Path


# ---- the seed's own code

def compute_entry_hash(entry: dict, previous_hash: str) -> str:
    """Compute hash including previous entry's hash."""
    content = json.dumps(entry, sort_keys=True) + previous_hash
    return hashlib.sha256(content.encode()).hexdigest()


def append_entry(entry: dict, ledger_path: Path) -> str:
    """Append entry with hash chain."""
    # Get previous hash
    previous_hash = get_last_hash(ledger_path) or "GENESIS"

    # Add hash to entry
    entry["previous_hash"] = previous_hash
    entry["hash"] = compute_entry_hash(entry, previous_hash)

    # Append
    with open(ledger_path, "a") as f:
        f.write(json.dumps(entry) + "\n")

    return entry["hash"]


def verify_ledger_integrity(ledger_path: Path) -> bool:
    """Verify hash chain is intact."""
    previous_hash = "GENESIS"

    with open(ledger_path) as f:
        for line in f:
            entry = json.loads(line)

            # Verify previous hash matches
            if entry["previous_hash"] != previous_hash:
                return False

            # Verify entry hash
            expected_hash = compute_entry_hash(
                {k: v for k, v in entry.items() if k != "hash"},
                previous_hash
            )
            if entry["hash"] != expected_hash:
                return False

            previous_hash = entry["hash"]

    return True


# ---- what the seed leaves out, and what the tests ask

def get_last_hash(ledger_path):
    if not os.path.exists(ledger_path):
        return None
    with open(ledger_path) as f:
        lines = f.read().splitlines()
    return json.loads(lines[-1]).get("hash") if lines else None


# What is called below stands as deep in the stack as in a script that verifies a ledger: the recursion limit counts it.

def check_line(raw, previous_hash, answer):
    line = raw.decode() + "\n"
    entry = json.loads(line)
    if isinstance(entry, dict):
        try:
            answer["respelled"] = json.dumps(entry) + "\n" != line
        except RecursionError:
            pass
        if isinstance(entry.get("previous_hash"), str):
            try:
                answer["hash"] = compute_entry_hash({k: v for k, v in entry.items() if k != "hash"}, entry["previous_hash"])
            except (RecursionError, UnicodeEncodeError):
                pass
        # Ours goes on from what a line of the chain states.
        if "previous_hash" in entry and isinstance(entry.get("hash"), str):
            answer["next"] = entry["hash"]
    if entry["previous_hash"] != previous_hash:
        return "previous_hash"
    expected_hash = compute_entry_hash({k: v for k, v in entry.items() if k != "hash"}, previous_hash)
    return "ok" if entry["hash"] == expected_hash else "hash"


def undecodable_at(path):
    number = 0
    try:
        with open(path) as f:
            for number, _ in enumerate(f, 1):
                pass
    except UnicodeDecodeError:
        return number + 1


def written(expressions, path):
    path.unlink(missing_ok=True)
    for text in expressions:
        append_entry(eval(text, {"json": json}), path)
    return base64.b64encode(path.read_bytes()).decode()


def probe(encodes):
    low, high = 1, 100_000
    while low < high:
        middle = (low + high + 1) // 2
        try:
            value = json.loads("[" * middle + "]" * middle)
            if encodes:
                compute_entry_hash(value, "")
            low = middle
        except RecursionError:
            high = middle - 1
    return low


folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "ledger.jsonl"
source = sys.stdin.buffer
digits = sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0
print(json.dumps({"version": list(sys.version_info[:3]), "loads": probe(False), "dumps": probe(True), "digits": digits}))
previous = "GENESIS"
while len(frame := source.read(5)) == 5:
    kind, payload = frame[:1], source.read(struct.unpack(">I", frame[1:])[0])
    answer = {}
    try:
        if kind == b"R":
            previous = "GENESIS"
        elif kind == b"L":
            answer["verdict"] = check_line(payload, previous, answer)
        elif kind == b"F":
            path.write_bytes(payload)
            answer["undecodable"] = undecodable_at(path)
            answer["verdict"] = str(verify_ledger_integrity(path))
        elif kind == b"A":
            answer["file"] = written(json.loads(payload), path)
        elif kind == b"D":
            answer["texts"] = [json.dumps(json.loads(text), sort_keys=True) for text in json.loads(payload)]
    except Exception as error:
        answer["verdict"] = type(error).__name__
        answer["argument"] = str(error.args[0]) if error.args else None
    previous = answer.pop("next", previous)
    print(json.dumps(answer))
folder.cleanup()
