"""The Python library `eventsourcing`: its SQLite recorder, with the payload as JSON text. Told and answering like task.mjs."""

import json
import os
import sys
import time
from uuid import NAMESPACE_URL, uuid5

from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteDatastore

BATCH = 1000

task = json.loads(sys.argv[1])
with open(task["payloads"], encoding="utf-8") as file:
    payloads = json.load(file)

path = os.path.join(task["folder"], "eventsourcing.db")
datastore = SQLiteDatastore(path)
recorder = SQLiteApplicationRecorder(datastore)
recorder.create_table()
versions = {}


def stored(i, stream=None):
    payload = payloads[i % len(payloads)]
    stream = uuid5(NAMESPACE_URL, stream or payload["stream"])
    versions[stream] = version = versions.get(stream, 0) + 1
    data = payload.get("call") or payload["event"]
    state = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return StoredEvent(originator_id=stream, originator_version=version, topic="bench:Recorded", state=state)


def append(begin, end):
    if task["callers"] == "batches":
        for first in range(begin, end, BATCH):
            recorder.insert_events([stored(i, f"run-{first}") for i in range(first, min(first + BATCH, end))])
    else:
        for i in range(begin, end):
            recorder.insert_events([stored(i)])


append(0, task["count"])
start = time.perf_counter()
append(task["count"], 2 * task["count"])
seconds = time.perf_counter() - start

with datastore.transaction(commit=False) as cursor:

    def value(sql):
        cursor.execute(sql)
        return cursor.fetchone()[0]

    kept = value("SELECT count(*) FROM stored_events")
    settings = f"journal_mode {value('PRAGMA journal_mode')}, synchronous {value('PRAGMA synchronous')}"
print(json.dumps({"seconds": seconds, "kept": kept, "settings": f"Python {sys.version.split()[0]}, {settings}"}))
