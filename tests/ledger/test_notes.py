"""Notes, keys and checkpoints: bytes made by Go's own tools, round trips, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sytff_policy.ledger.keys import FileSigner, cosign, sign_note
from sytff_policy.ledger.notes import Checkpoint, Note, NoteError, PublicKey, Signature
from sytff_policy.ledger.tree import EMPTY_ROOT

# Made by golang.org/x/mod/sumdb/note from the seed SHA-256("seed of the golden vectors").
GOLDEN_PRIVATE = (
    "PRIVATE+KEY+sytff-policy/node-golden+f13f97b7+AcTCIYyUvuR+IyJAr51lTW9oCYGiybp5ZoN0GR/03NdU"
)
GOLDEN_PUBLIC = "sytff-policy/node-golden+f13f97b7+Aa32poV9uWHabHkjyry04xYwLMpcL80RzRrcUuOzjt13"
GOLDEN_NOTE = (
    "sytff-policy/node-golden\n"
    "0\n"
    "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
    "\n"
    "— sytff-policy/node-golden 8T+Xt5nPCL1t6+78vTSVx/3BXTyY47XVzomRG0nDPj0EJeal3yukThaNvIa+"
    "lAlmmML8pPoAGrFZxqNtfodGY2RhiA4=\n"
)
SIGNER = FileSigner.parse(GOLDEN_PRIVATE, "golden")
KEY = SIGNER.public_key


def test_the_key_is_the_one_that_go_reads() -> None:
    assert KEY.text == GOLDEN_PUBLIC
    assert PublicKey.parse(GOLDEN_PUBLIC + "\n") == KEY


def test_the_note_is_the_one_that_go_signs() -> None:
    checkpoint = Checkpoint("sytff-policy/node-golden", 0, EMPTY_ROOT)
    assert sign_note(checkpoint.text, SIGNER).signed_text == GOLDEN_NOTE
    note = Note.parse(GOLDEN_NOTE.encode())
    assert note.signed_by([KEY]) == [KEY]
    assert Checkpoint.parse(note.text) == checkpoint


def test_every_changed_byte_of_a_note_is_refused() -> None:
    content = GOLDEN_NOTE.encode()
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1
        try:
            signers = Note.parse(bytes(altered)).signed_by([KEY])
        except NoteError:
            continue
        assert signers == [], position


@given(
    st.builds(
        Checkpoint,
        st.just("example.org/log"),
        st.integers(0, 10**18 - 1),
        st.binary(min_size=32, max_size=32),
        st.lists(st.text("abc +=/é", min_size=1), max_size=2).map(tuple),
    )
)
def test_checkpoints_come_back_as_they_were(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    note = sign_note(checkpoint.text, SIGNER)
    assert Note.parse(note.signed_text) == note


ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log\n",
        "log\n0\n",
        f"log\n00\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n+1\n{ROOT}\n",
        f"log\n 1\n{ROOT}\n",
        f"log\n1e3\n{ROOT}\n",
        f"log\n1234567890123456789012\n{ROOT}\n",
        f"\n1\n{ROOT}\n",
        f"log\n1\n{ROOT}",
        f"log\n1\n{ROOT}\n\nmore\n",
        f"log\n1\n{ROOT[:-1]}\n",
        "log\n1\nAAAA\n",
        f"log\n1\n{ROOT[:-2]}V=\n",
        "log\n1\n47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "signed",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno signature\n",
        GOLDEN_NOTE[:-1].encode(),
        GOLDEN_NOTE.replace("— ", "- ").encode(),
        GOLDEN_NOTE.replace("— ", "—  ").encode(),
        GOLDEN_NOTE.encode() + b"\n",
        GOLDEN_NOTE.encode() + b"\xff",
        GOLDEN_NOTE.replace("node", "no\tde").encode(),
        GOLDEN_NOTE.encode() + b"x" * 1_000_001,
        "text\n\n— name AAAA\n".encode(),
    ],
)
def test_what_is_no_note_is_refused(signed: bytes) -> None:
    with pytest.raises(NoteError):
        Note.parse(signed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+12345678",
        GOLDEN_PUBLIC.replace("f13f97b7", "f13f97b8"),
        GOLDEN_PUBLIC.replace("golden", "silver"),
        GOLDEN_PUBLIC[:-4],
        GOLDEN_PUBLIC.replace("+Aa", "+Ba"),
        " +00000000+" + GOLDEN_PUBLIC.split("+")[2],
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        PublicKey.parse(text)


def test_a_signature_of_an_unknown_key_says_nothing() -> None:
    other = PublicKey(KEY.name, bytes(31) + b"\x01")
    assert Note.parse(GOLDEN_NOTE).signed_by([other]) == []


def test_a_wrong_signature_of_a_known_key_is_refused_beside_a_right_one() -> None:
    note = Note.parse(GOLDEN_NOTE)
    wrong = Signature(KEY.name, KEY.id, bytes(64))
    with pytest.raises(NoteError, match="wrong"):
        note.with_signatures([wrong]).signed_by([KEY])


def test_a_witness_signs_time_and_text() -> None:
    note = Note.parse(GOLDEN_NOTE)
    line = cosign(note.text, SIGNER, seconds=1_700_000_000)
    witness = PublicKey(KEY.name, KEY.key, algorithm=4)
    assert witness.id != KEY.id
    both = note.with_signatures([line])
    assert both.signed_by([KEY, witness]) == [KEY, witness]
    assert Note.parse(both.signed_text) == both
    later = Signature(line.name, line.key_id, (1).to_bytes(8, "big") + line.value[8:])
    with pytest.raises(NoteError):
        note.with_signatures([later]).signed_by([witness])
    with pytest.raises(NoteError):
        note.with_signatures([Signature(line.name, line.key_id, b"short")]).signed_by([witness])
