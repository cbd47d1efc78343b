"""Runs docs/verify.py over many files of lines in one process, for the test that holds it against our verifier.

stdin: frames of a 4-byte big-endian length and that many bytes, each frame a file. stdout: a line of JSON for each,
{"ok": bool, "size": int, "head": str or null, "problems": [[byte offset or null, position, code], ...]}.
"""
import importlib.util, json, os, struct, sys

spec = importlib.util.spec_from_file_location('verify', os.path.join(os.path.dirname(__file__), '../../docs/verify.py'))
sys.dont_write_bytecode = True
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)

source = sys.stdin.buffer
while len(frame := source.read(4)) == 4:
    report = verify.verify_files([('lines.jsonl', None, source.read(struct.unpack('>I', frame)[0]))], spelling=True)
    report['problems'] = [[(one['where'] or {}).get('byte'), one['seq'], one['code']] for one in report['problems']]
    print(json.dumps(report))
