#!/usr/bin/env python3
"""Reads a vault of version 1. It was written from the pages beside it, mended where they fell short.

  reader.py VAULT (--key-file F | --recovery-key TEXT | --passphrase-file F) COMMAND
  COMMAND: list | verify | restore POINT STREAM OUT

It never writes to the vault, and checks all that it uses: checks, seals, hashes of frames, ids. What does not
fit is named on stderr; the exit status is 1. Needs blake3, cryptography, zstandard, for passphrases argon2-cffi.
"""
import functools, json, os, re, struct, sys
import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK, FRAME, NODE, MIB = 65536, 1 << 20, 4173, 1 << 20
NAME = re.compile(r"[a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*")

class Damaged(Exception):
    """An object is not what the pages say; the text names it."""
def need(holds, where, what):
    if not holds:
        raise Damaged(f"{where}: {what}")
def derived(context, *parts):
    return blake3(b"".join(parts), derive_key_context=f"tresor vault 1 {context}").digest()
def unseal(key, purpose, counter, sealed, aad, where):
    try:
        return AESGCM(key).decrypt(struct.pack("<B3xQ", purpose, counter), sealed, aad)
    except InvalidTag:
        raise Damaged(f"{where}: the seal does not fit") from None
def unzstd(coded, size, where):
    """One zstd frame of `size` bytes; no more than that is made, whatever it holds."""
    try:
        plain = zstandard.ZstdDecompressor().stream_reader(coded).read(size + 1)
    except zstandard.ZstdError as error:
        raise Damaged(f"{where}: {error}") from None
    need(len(plain) == size, where, "another length than it says")
    return plain

class Cursor:
    """Takes fields one behind another."""
    def __init__(self, data, where, at=0):
        self.data, self.where, self.at = data, where, at
    def take(self, count):
        need(count <= len(self.data) - self.at, self.where, "too short")
        self.at += count
        return self.data[self.at - count:self.at]
    def ints(self, form):
        out = struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))
        return out[0] if len(out) == 1 else out
    def end(self):
        need(self.at == len(self.data), self.where, "bytes behind the end")

class Pack:
    """A pack whose footers were checked (pack.md)."""
    def __init__(self, vault, pack_id):
        self.vault, self.name = vault, f"packs/{pack_id.hex()[:2]}/{pack_id.hex()}"
        self.data = data = vault.get(self.name, b"TRESORPK", 128 * MIB)
        need(len(data) >= 104 and data[-8:] == b"TRESORPE", self.name, "has no end")
        count, foot, length, zero = struct.unpack("<4I", data[-56:-40])
        middle = foot + 36 * count
        need(zero == 0 and count <= 32768 and foot >= 48 and middle + length == len(data) - 56, self.name, "bad places")
        need(blake3(data[:48] + data[foot:-40]).digest() == data[-40:-8], self.name, "the footers' hash does not fit")
        need(data[11:16] == bytes(5) and data[16:32] == pack_id and data[10] in (1, 2), self.name, "belongs elsewhere")
        self.kind, self.frames, at = data[10], {}, 48
        self.domain, key = vault.data_key(int.from_bytes(pack_id[12:], "big"), self.name)
        self.key = derived("pack", key, data[10:11], pack_id)
        parts = Cursor(unseal(self.key, 1, 0, data[middle:-56], data[:48] + data[foot:middle], self.name), self.name)
        for stored, digest in struct.iter_unpack("<I32s", data[foot:middle]):
            self.frames[at] = stored, digest, [parts.ints("32sI") for _ in range(parts.ints("H"))]
            at += stored
        parts.end()
        need(at == foot, self.name, "the frames do not fill it")
    def frame(self, at):
        """The opened frame that begins at `at`; hash, seal, sizes and ids of its parts are checked."""
        where, (stored, digest, parts) = f"{self.name} frame at {at}", self.frames[at]
        sealed = self.data[at:at + stored]
        need(blake3(sealed).digest() == digest, where, "the hash does not fit")
        cursor = Cursor(unseal(self.key, 0, at, sealed, b"", where), where)
        codec, zeros, size = cursor.ints("B3sI")
        need(codec in (0, 1) and zeros == bytes(3) and size <= (0, FRAME, CHUNK)[self.kind], where, "does not fit")
        plain = unzstd(cursor.data[8:], size, where) if codec else cursor.data[8:]
        need(len(plain) == size, where, "another length than it says")
        body = Cursor(plain, where)
        for part_id, length in parts:
            part = body.take(length)
            node = self.kind == 2 and Node(self.vault, self.domain, part, where)
            found = node.id if node else self.vault.id_of("chunk id", self.domain, part)
            need(found == part_id and (node or length == CHUNK), where, "the id of a part does not fit")
        body.end()
        return plain

class Node:
    """A node of a manifest tree (manifest.md)."""
    def __init__(self, vault, domain, data, where):
        cursor = Cursor(data, where)
        version, self.level, zeros, bits = cursor.ints("BB2sQ")
        need(version == 1, where, f"a node has the unknown version {version}")
        need(zeros == bytes(2) and self.level <= 5 and bits and len(data) <= NODE, where, "a node does not fit")
        self.slots = [i for i in range(64) if bits >> i & 1]
        self.ids = [cursor.take(32) for _ in self.slots]
        self.id = vault.id_of("node id", domain, data[:cursor.at])
        self.frames = [cursor.ints("16sII") for _ in range(cursor.ints("B"))]
        self.places = [cursor.ints("BII" if self.level else "BB") for _ in self.slots]
        cursor.end()
        need(all(place[0] < len(self.frames) <= 64 for place in self.places), where, "a hint leads nowhere")

class Vault:
    """An opened vault in a directory: header, slot, ring, points (vault.md, keys.md, storage.md)."""
    def __init__(self, root, secret_for):
        self.root = root
        cursor = self.checked("vault", b"TRESORVH")
        self.id, chunk, frame, _created = cursor.ints("16sIIq")
        cursor.end()
        need((chunk, frame) == (CHUNK, FRAME), "vault", "has another grain")
        self.open_ring(*self.open_slot(secret_for))
    def names(self, prefix=""):
        walk = os.walk(os.path.join(self.root, prefix))
        paths = (os.path.join(path, file) for path, _, files in walk for file in files)
        names = (os.path.relpath(path, self.root) for path in paths if not os.path.islink(path))
        return sorted(name for name in names if NAME.fullmatch(name))
    def get(self, name, magic, limit=CHUNK):
        """A whole object. Its version is looked at first: a newer one may check itself in another way."""
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                data = file.read(limit + 1)
        except FileNotFoundError:
            raise Damaged(f"{name}: is missing") from None
        need(len(data) <= limit, name, "larger than the limit")
        need(data[:8] == magic and len(data) >= 42, name, "is no such object")
        need(data[8:10] == b"\1\0", name, f"has the unknown version {data[8] + 256 * data[9]}")
        return data
    def checked(self, name, magic, limit=CHUNK):
        """A cursor behind the version of an object that ends in a check."""
        data = self.get(name, magic, limit)
        need(blake3(data[:-32]).digest() == data[-32:], name, "the check does not fit")
        return Cursor(data[:-32], name, 10)
    def open_slot(self, secret_for):
        for name in filter(lambda name: name.startswith("keys/slot-"), self.names("keys")):
            cursor = self.checked(name, b"TRESORKS")
            kind, vault, slot, ring, *costs = cursor.ints("B16s16s16s3I")
            salt, _label = cursor.take(32), cursor.take(cursor.ints("B"))
            aad, sealed = cursor.data[:cursor.at], cursor.take(48)
            cursor.end()
            need(vault == self.id and name == f"keys/slot-{slot.hex()}", name, "belongs elsewhere")
            try:
                if secret := secret_for(kind, costs, salt):
                    return ring, unseal(derived("key slot", salt, secret), 7, 0, sealed, aad, name)
            except Damaged:
                continue
        raise Damaged("keys: no slot opens with this key")
    def open_ring(self, ring_id, master):
        prefix = f"keys/ring-{ring_id.hex()}-"
        name = max((name for name in self.names("keys") if name.startswith(prefix)), default=prefix)
        cursor = self.checked(name, b"TRESORKR")
        vault, ring, generation, salt = cursor.ints("16s16sI16s")
        aad, sealed = cursor.data[:cursor.at], cursor.take(cursor.ints("I"))
        cursor.end()
        need(vault == self.id and name == f"keys/ring-{ring.hex()}-{generation:08x}", name, "belongs elsewhere")
        plain = Cursor(unseal(derived("key ring", master, salt), 6, 0, sealed, aad, name), name)
        need(plain.take(32) == blake3(self.get("vault", b"TRESORVH")).digest(), "vault", "is not the one of the ring")
        self.roots = dict(plain.ints("16s32s") for _ in range(plain.ints("I")))
        keys = [plain.ints("I16s32s") for _ in range(plain.ints("I"))]
        self.keys = {number: (domain, key) for number, domain, key in keys}
        plain.end()
    def data_key(self, number, where):
        need(number in self.keys, where, f"its data key {number} is not in the ring")
        return self.keys[number]
    def id_of(self, kind, domain, data):
        return blake3(data, key=derived(kind, self.roots[domain])).digest()
    @functools.lru_cache(4)
    def pack(self, pack_id):
        return Pack(self, pack_id)
    @functools.lru_cache(64)
    def frame(self, pack_id, at, length, kind):
        pack = self.pack(pack_id)
        need(pack.frames.get(at, [None])[0] == length and pack.kind == kind, pack.name, f"has no such frame at {at}")
        return pack.domain, pack.frame(at)
    def end(self, name):
        """The recovery point of a session's end and its tree packs; None for an abort (session.md, point.md)."""
        cursor = self.checked(name, b"TRESORSE", 64 * MIB)
        vault, session, _ended, outcome = cursor.ints("16s16sqB")
        need(vault == self.id and name == f"sessions/{session.hex()}.end", name, "belongs elsewhere")
        if outcome == 2:
            return cursor.end()
        number, salt, _runs, trees = cursor.ints("I16sII")
        trees = [cursor.ints("16sI") for _ in range(trees)]
        summary, record, size = cursor.ints("3I")
        need(outcome == 1 and size <= 64 * MIB, name, "neither commit nor abort, or too large")
        aad, key = cursor.data[:cursor.at], derived("session end", self.data_key(number, name)[1], session, salt)
        unseal(key, 4, 0, cursor.take(summary), aad, name)
        record = unzstd(unseal(key, 5, 0, cursor.take(record), aad, name), size, name)
        cursor.end()
        point = json.loads(record)
        return point, point["disks"] + point["attachments"], trees
    def index_run(self, name):
        """Checks an index run (index.md): seals, order, and that its packs hold what it says."""
        cursor = self.checked(name, b"TRESORIX", 256 * MIB)
        vault, session, number, key, salt, packs, entries = cursor.ints("16s16sII16sII")
        need(vault == self.id and name == f"index/{session.hex()}-{number:06}", name, "belongs elsewhere")
        packs, blocks = [cursor.ints("16sIB") for _ in range(packs)], range(0, entries, 1024)
        aad, key = blake3(cursor.data[:cursor.at]).digest(), derived("index run", self.data_key(key, name)[1], salt)
        fences = unseal(key, 3, 0, cursor.take(32 * len(blocks) + 16), aad, name)
        sealed = [cursor.take(52 * min(1024, entries - at) + 16) for at in blocks]
        cursor.end()
        plain = [unseal(key, 2, i, block, aad, name) for i, block in enumerate(sealed)]
        rows = list(struct.iter_unpack("<32s5I", b"".join(plain)))
        need(fences == b"".join(block[:32] for block in plain), name, "the fences do not fit")
        need(rows == sorted(rows, key=lambda row: row[0]), name, "not in order")
        for part, pack, at, stored, _first, size in sorted(rows, key=lambda row: row[1]):
            found = self.pack(packs[pack][0])
            need((len(found.data), found.kind) == packs[pack][1:], found.name, f"is not what {name} says")
            frame = found.frames.get(at, (0, b"", []))
            need(frame[0] == stored and (part, size) in frame[2], name, "an entry does not fit")
    def chunks(self, stream):
        """Place and bytes of every chunk of a stream that is not zeros (manifest.md)."""
        root, size = stream["root"], stream["size"]
        if root:
            level = next(level for level in range(6) if CHUNK * 64 ** (level + 1) >= size)
            place = bytes.fromhex(root["pack"]), root["offset"], root["length"], root["at"], root["size"]
            yield from self.walk(bytes.fromhex(root["id"]), level, place, 0, size)
    def walk(self, node_id, level, place, start, size):
        where, (domain, plain) = f"node {node_id.hex()}", self.frame(*place[:3], 2)
        node = Node(self, domain, plain[place[3]:place[3] + place[4]], where)
        need((node.id, node.level) == (node_id, level), where, "another node lies there")
        for slot, child, (frame, *at) in zip(node.slots, node.ids, node.places):
            begin = start + slot * CHUNK * 64 ** level
            need(begin < size, where, "goes beyond the stream")
            if level:
                yield from self.walk(child, level - 1, (*node.frames[frame], *at), begin, size)
            else:
                domain, plain = self.frame(*node.frames[frame], 1)
                chunk = plain[at[0] * CHUNK:(at[0] + 1) * CHUNK]
                need(self.id_of("chunk id", domain, chunk) == child, where, "another chunk lies there")
                yield begin, chunk[:size - begin]
    def damage(self, name):
        """Reads one object and all that it refers to; what is wrong with it."""
        try:
            if name.startswith("packs/"):
                pack = self.pack(bytes.fromhex(name[9:]))
                list(map(pack.frame, pack.frames))
            elif name.startswith("index/"):
                self.index_run(name)
            elif name.endswith(".end") and (found := self.end(name)):
                need(all(len(self.pack(pack).data) == size for pack, size in found[2]), name, "a tree pack differs")
                all(chunk for stream in found[1] for chunk in self.chunks(stream))
            elif name.endswith(".begin") or name.startswith("expired/"):
                cursor = self.checked(name, b"TRESORSB" if name.endswith(".begin") else b"TRESORSX")
                vault, session, _at = cursor.ints("16s16sq")
                cursor.end()
                need(vault == self.id and session.hex() in name, name, "belongs elsewhere")
        except Damaged as damaged:
            return str(damaged)
def secrets(kind_of_key, key):
    """What makes a slot's secret from the key that was given; None for a slot of another kind."""
    data = b"" if kind_of_key == "--recovery-key" else open(key, "rb").read()
    def secret_for(kind, costs, salt):
        if kind == 1 and kind_of_key == "--passphrase-file":
            memory, passes, lanes = costs
            need(memory <= MIB and passes <= 64 and lanes <= 16, "a key slot", "its costs are above the limits")
            from argon2.low_level import Type, hash_secret_raw
            return hash_secret_raw(data.rstrip(b"\r\n"), salt, passes, memory, lanes, 32, Type.ID)
        if kind == 3 and kind_of_key != "--passphrase-file":
            return recovery_secret(data.decode("latin-1") or key)
        return data if kind == 2 and kind_of_key == "--key-file" else None
    return secret_for
def recovery_secret(text):
    text = re.sub(r"[\s-]", "", text).upper().translate(str.maketrans("OIL", "011"))
    values = ["0123456789ABCDEFGHJKMNPQRSTVWXYZ".find(symbol) for symbol in text]
    need(len(text) == 56 and -1 not in values, "the key", "is no recovery key")
    number = functools.reduce(lambda number, value: number << 5 | value, values).to_bytes(35, "big")
    need(derived("recovery key check", number[:32])[:3] == number[32:], "the recovery key", "is mistyped")
    return number[:32]
def list_points(vault):
    for name in vault.names("sessions"):
        if name.endswith(".end") and not os.path.exists(os.path.join(vault.root, "expired", name[9:-4])):
            if found := vault.end(name):
                sizes = (f"{stream['name']}:{stream['size']}" for stream in found[1])
                print(name[9:-4], found[0]["taken_at"], found[0]["vm_name"], *sizes)
def verify(vault):
    raise SystemExit("\n".join(filter(None, map(vault.damage, vault.names()))) or 0)
def restore(vault, point, name, out):
    found = vault.end(f"sessions/{point.replace('-', '')}.end")
    stream = next((stream for stream in found[1] if stream["name"] == name), None) if found else None
    need(stream, f"point {point}", f"has no stream {name}")
    with open(out, "xb") as file:
        file.truncate(stream["size"])
        for at, chunk in vault.chunks(stream):
            file.seek(at)
            file.write(chunk)
def main(root="", kind="", key="", command="", *rest):
    commands = {("list", 0): list_points, ("verify", 0): verify, ("restore", 3): restore}
    if (command, len(rest)) not in commands or kind not in ("--key-file", "--recovery-key", "--passphrase-file"):
        raise SystemExit(__doc__)
    try:
        commands[command, len(rest)](Vault(root, secrets(kind, key)), *rest)
    except (Damaged, OSError) as error:
        raise SystemExit(str(error)) from None
if __name__ == "__main__":
    main(*sys.argv[1:])
