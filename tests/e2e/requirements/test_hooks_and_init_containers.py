"""What runs before the containers of a pod, beside their start, and before their end."""

from __future__ import annotations

from typing import Any

from requirement_room import WAITS, Obj, Room, condition, container, is_ready, pod, restarts, status_of, terminated

EARLY = True
PORT = 8080
#: answers everybody, and prints what it was asked with
SERVER = f"""
mkdir -p /www/cgi-bin && cat >/www/cgi-bin/hit <<'END'
#!/bin/sh
echo "hit by $QUERY_STRING" >/proc/1/fd/1
printf 'Content-Type: text/plain\\r\\n\\r\\nok'
END
chmod 755 /www/cgi-bin/hit && exec httpd -f -p {PORT} -h /www
"""
ANSWERS = {"httpGet": {"path": "/cgi-bin/hit?probe", "port": PORT}, "periodSeconds": 1, "timeoutSeconds": 10}


def initialized(name: str, *init: str, main: str = WAITS, policy: str = "Always") -> Obj:
    containers = [container(script, f"init{number}") for number, script in enumerate(init, 1)]
    return pod(name, container(main, "run1"), initContainers=containers, restartPolicy=policy)


PODS = (
    pod("server", container(SERVER, readinessProbe=ANSWERS)),
    initialized("init-always", "true", "true"),
    initialized("init-never", "true", "true", main="true", policy="Never"),
    initialized("init-fails-always", "false", "true"),
    initialized("init-fails-never", "true", "false", policy="Never"),
)


def populate(room: Room) -> None:
    """The pods with hooks: they need the server's address."""
    address = room.ready("server")["status"]["podIP"]
    for event in ("postStart", "preStop"):
        by_command = ["wget", "-qO-", f"http://{address}:{PORT}/cgi-bin/hit?{event}-exec"]
        by_request = {"host": address, "port": PORT, "path": f"/cgi-bin/hit?{event}-http"}
        actions: dict[str, Any] = {"exec": {"exec": {"command": by_command}}, "http": {"httpGet": by_request}}
        for name, action in actions.items():
            # Time enough for the hook, whatever else the machine does.
            hooked = pod(f"{event.lower()}-{name}", container(lifecycle={event: action}))
            room.create({**hooked, "spec": {**hooked["spec"], "terminationGracePeriodSeconds": 60}})


def test_after_a_start_the_hook_is_run(room: Room) -> None:
    """Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart exec hook properly
    [NodeConformance]; Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart http hook
    properly [NodeConformance]"""
    for name in ("exec", "http"):
        room.logs("server", f"hit by postStart-{name}")
        room.ready(f"poststart-{name}")


def test_before_the_end_the_hook_is_run(room: Room) -> None:
    """Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec hook properly
    [NodeConformance]; Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop http hook
    properly [NodeConformance]; PreStop should call prestop when killing a pod"""
    for name in ("exec", "http"):
        room.ready(f"prestop-{name}")
    assert "preStop" not in room.log("server")
    for name in ("exec", "http"):
        room.delete(f"prestop-{name}")
    for name in ("exec", "http"):
        room.gone(f"prestop-{name}")
        assert room.log("server").count(f"hit by preStop-{name}\n") == 1


def test_init_containers_are_run_before_containers_that_go_on(room: Room) -> None:
    """InitContainer [NodeConformance] should invoke init containers on a RestartAlways pod"""
    found = room.ready("init-always")
    assert condition(found, "Initialized")["status"] == "True"
    for name in ("init1", "init2"):
        assert terminated(found, name)["exitCode"] == 0 and status_of(found, name)["ready"]


def test_init_containers_are_run_before_containers_that_end(room: Room) -> None:
    """InitContainer [NodeConformance] should invoke init containers on a RestartNever pod"""
    found = room.ended("init-never")
    assert found["status"]["phase"] == "Succeeded"
    assert condition(found, "Initialized")["status"] == "True"
    assert [terminated(found, name)["exitCode"] for name in ("init1", "init2", "run1")] == [0, 0, 0]
    assert terminated(found, "init1")["finishedAt"] <= terminated(found, "init2")["startedAt"]


def not_begun(found: Obj, name: str) -> bool:
    status = status_of(found, name)
    return not status or ("waiting" in status["state"] and not status.get("lastState") and not status["restartCount"])


def test_no_container_starts_after_an_init_container_that_failed_for_good(room: Room) -> None:
    """InitContainer [NodeConformance] should not start app containers and fail the pod if init containers fail on a
    RestartNever pod"""
    found = room.ended("init-fails-never")
    assert found["status"]["phase"] == "Failed"
    assert terminated(found, "init1")["exitCode"] == 0 and terminated(found, "init2")["exitCode"] == 1
    initialized = condition(found, "Initialized")
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
    assert initialized["message"] == "containers with incomplete status: [init2]"
    begun = [status_of(seen, "run1") for _, seen in room.seen["init-fails-never"] if not not_begun(seen, "run1")]
    assert begun == []


def test_no_container_starts_while_an_init_container_fails_again_and_again(room: Room) -> None:
    """InitContainer [NodeConformance] should not start app containers if init containers fail on a RestartAlways pod"""
    found = room.until("init-fails-always", lambda p: restarts(p, "init1") >= 2)
    assert found["status"]["phase"] == "Pending" and not is_ready(found)
    initialized = condition(found, "Initialized")
    assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")
    seen = [each for _, each in room.seen["init-fails-always"]]
    assert all(not_begun(each, name) for each in seen for name in ("init2", "run1"))
