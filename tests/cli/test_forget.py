"""`committee forget`: last of all, on record, and for good."""

from tests.cli.bridge import PROGRAM, RECEIVER, Bridge, join, make_deposit, set_up
from tests.cli.conftest import Copy


def deposit_of(bridge: Bridge) -> str:
    return str(bridge.data("depositor", "list")["deposits"][0]["deposit"])


def test_it_comes_last(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    deposit = make_deposit(bridge)
    assert "no instance of this deposit is signed yet" in bridge.refused("committee", "forget", deposit, code=5)
    instance = join(bridge, deposit)
    assert bridge.refused("committee", "forget", deposit, code=2).startswith("instance: ")
    bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    early = bridge.refused("committee", "forget", deposit, code=1)
    assert early == "PegIn: not confirmed yet; a key that is deleted now can sign it no more (--force)"
    report = bridge.data("depositor", "peg-in", deposit, "--broadcast")
    assert report["broadcast"]
    assert bridge.refused("committee", "forget", deposit, code=1) == early, "it waits in the mempool"
    bridge.mine()
    document = bridge.data("committee", "forget", deposit, "--member", "alice")
    (row,) = document["deleted"]
    assert row["member"] == "alice"
    assert row["height"] == bridge.height()
    assert not row["derived"]
    (again,) = bridge.data("committee", "forget", deposit, "--member", "alice")["deleted"]
    assert again == row


def test_one_deleted_key_ends_all_signing(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    deposit = deposit_of(bridge)
    unknown = bridge.refused("committee", "forget", deposit, "--member", "dave", code=2)
    assert unknown == "member: 'dave' is not one that has a key of this deposit here (alice, bob, carol)"
    done = bridge.run("committee", "forget", deposit, "--member", "bob")
    assert done.stdout.startswith("bob  0")
    assert done.stderr == ""
    where = bridge.data("depositor", "address")["address"]
    for args in (
        ("committee", "cooperative-payout", deposit, "--to", where),
        ("committee", "sign", instance),
        ("committee", "confirm", deposit),
    ):
        refusal = bridge.refused(*args, code=1)
        assert refusal.startswith("member 'bob': its key for this deposit was deleted at 20")
        assert refusal.endswith(f", in block {bridge.height()}")
    rows = bridge.data("committee", "forget", deposit)["deleted"]
    assert [row["member"] for row in rows] == ["alice", "bob", "carol"]
    secrets = [row[3] for row in bridge.contents()["member_keys"]]
    assert secrets == [None, None, None]
    bridge.send("operator", "kick-off", instance)
    assert bridge.state(instance) == "KickOff"


def test_other_deposits_keep_their_keys(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge = copy(pegged[0])
    first = deposit_of(bridge)
    bridge.run("committee", "forget", first)
    report = bridge.send("depositor", "deposit", "--receiver", RECEIVER, "--burn-percent", "51")
    second = str(report["deposit"])
    other = join(bridge, second, PROGRAM)
    bridge.run("committee", "sign", other)
    bridge.run("committee", "confirm", second)
    bridge.send("depositor", "peg-in", second)


def test_force_before_the_deposit_is_confirmed(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    deposit = make_deposit(bridge)
    bridge.run("committee", "forget", deposit, "--member", "carol", "--force")
    join(bridge, deposit)
    instance = bridge.data("instance", "list")["instances"][0]["instance"]
    assert "deleted" in bridge.refused("committee", "sign", instance, code=1)
    bridge.run("depositor", "deposit", "--receiver", RECEIVER, code=1)


def test_a_dry_run_makes_no_member_keys(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    bridge.run("depositor", "deposit", "--receiver", RECEIVER, "--dry-run")
    assert bridge.contents()["member_keys"] == []
    set_up(bridge)
    assert len(bridge.contents()["member_keys"]) == 3
