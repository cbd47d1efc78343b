"""Opens the entries of a JSONL ledger from its files alone, by docs/format.md, with the primitives of `cryptography`.

Argument: the ledger's folder, and the file of the master key. Prints one JSON array of [run_id, entry].
"""
import base64, hashlib, hmac, json, pathlib, sqlite3, sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


folder, master_file = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
_, _, master_id, secret = master_file.read_text().strip().split("+", 3)
master = base64.b64decode(secret)
assert master[0] == 0x20 and len(master) == 33
master = master[1:]
assert hashlib.sha256(b"cortex-ledger/v1 master key\n" + master).hexdigest()[:8] == master_id

lines = [line for path in sorted((folder / "segments").iterdir()) for line in path.read_bytes().split(b"\n") if line]
records = [json.loads(line) for line in lines]
origin = records[0]["header"]["actor"]

keys = {}
for key_id, _label, wrapped_by, wrapped in sqlite3.connect(folder / "keys.db").execute("SELECT id, label, master, wrapped FROM data_keys"):
    assert wrapped_by == master_id
    wrapped = base64.b64decode(wrapped)
    assert wrapped[0] == 1
    context = f"cortex-ledger/v1 data key\n{origin}\n{key_id}".encode()
    keys[key_id] = AESGCM(master).decrypt(wrapped[1:13], wrapped[13:], context)

opened = []
for record in records:
    sealed = (record.get("entry") or {}).get("$enc")
    if sealed is None:
        continue
    iv = b64url(sealed["iv"])
    derived = HKDF(algorithm=SHA256(), length=64, salt=iv, info=b"cortex-ledger/v1 entry").derive(keys[sealed["key"]])
    assert hmac.compare_digest(derived[32:], b64url(sealed["kc"]))
    run_id = record["header"]["run_id"]
    plain = AESGCM(derived[:32]).decrypt(iv, b64url(sealed["ciphertext"]), f"{origin}\n{run_id}".encode())
    opened.append([run_id, json.loads(plain)])
print(json.dumps(opened))
