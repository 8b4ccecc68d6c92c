"""Random numbers are read ahead, which nobody may notice."""

import os
import re
import uuid

from sampan.api.clock import SystemRandom, random_uuid


def test_no_piece_of_entropy_is_given_out_twice() -> None:
    entropy = SystemRandom()
    assert len({entropy.getrandbits(128) for _ in range(500)}) == 500


def test_bits_stay_in_their_range() -> None:
    entropy = SystemRandom()
    assert all(0 <= entropy.getrandbits(bits) < 2**bits for bits in (1, 7, 53, 128, 200))
    assert all(0.0 <= entropy.random() < 1.0 for _ in range(200))
    assert {entropy.randrange(3) for _ in range(200)} == {0, 1, 2}


def test_a_forked_process_draws_its_own_numbers() -> None:
    entropy = SystemRandom()
    entropy.getrandbits(8)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"%d" % entropy.getrandbits(128))
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reader, 100)) != entropy.getrandbits(128)
    os.close(reader)
    os.close(writer)


def test_a_random_uuid_is_one_of_version_four() -> None:
    text = random_uuid(SystemRandom())
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)
    parsed = uuid.UUID(text)
    assert (parsed.version, parsed.variant) == (4, uuid.RFC_4122)
