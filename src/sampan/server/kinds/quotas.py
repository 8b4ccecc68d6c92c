"""PUT resourcequotas/NAME/status?countedAt=pods:1201,jobs.batch:1198: the controller's count, which holds while others
write.

The count is of what was there at the revisions, resource by resource. Whatever has been charged since, or is about to
be stored, is added to it, with nobody charged meanwhile: a count can take nothing back that somebody has. Without the
parameter the write is like that of any status; clients may send it to any server, for one that does not know it
ignores it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api import errors
from sampan.api.quota import amounts
from sampan.api.quota.evaluators import Resource
from sampan.api.reading import part
from sampan.api.strategies import STATUS
from sampan.api.types import Obj
from sampan.server.admission.quota.ledger import Ledger
from sampan.server.options import parse_write_options
from sampan.server.request import Request
from sampan.server.rest.body import read_object
from sampan.server.rest.context import RestContext, Verb
from sampan.server.rest.create import match_namespace
from sampan.server.rest.get import get
from sampan.server.rest.patch import patch
from sampan.server.rest.update import Change, change_object, check_precondition_uid, match_name, update
from sampan.server.results import ObjectResult, Result
from sampan.server.storage import Versioned

COUNTED_AT = "countedAt"


def quota_status(ledger: Ledger) -> dict[str, Verb]:
    """The verbs of ``resourcequotas/status``."""

    async def put(ctx: RestContext, request: Request) -> Result:
        at = request.query.get(COUNTED_AT)
        if at is None:
            return await update(ctx, request)
        return await _put_count(ctx, request, ledger, read_revisions(at))

    return {"get": get, "update": put, "patch": patch}


def read_revisions(written: str) -> dict[Resource, int]:
    """By group and plural. Raises BadRequest."""
    found: dict[Resource, int] = {}
    for pair in filter(None, written.split(",")):
        name, _, revision = pair.partition(":")
        if not (name and revision.isascii() and revision.isdigit() and len(revision) <= 19):
            text = "must be revisions by resource, such as pods:12,jobs.batch:9"
            raise errors.BadRequest(f'invalid {COUNTED_AT} "{pair[:40]}": {text}')
        plural, _, group = name.partition(".")
        found[group, plural] = int(revision)
    return found


async def _put_count(ctx: RestContext, request: Request, ledger: Ledger, at: Mapping[Resource, int]) -> ObjectResult:
    """Raises Conflict: what is counted has changed, or the count is too old."""
    target = ctx.target(request)
    options = parse_write_options(request.query, "UpdateOptions")
    obj = await read_object(request, target, options)
    match_namespace(obj, target)
    match_name(obj, target.name)
    hard, used = (amounts.read(part(obj, "status"), key) for key in ("hard", "used"))
    quotas = ledger.of(target.namespace)

    async def compute(current: Versioned) -> Obj:
        check_precondition_uid(target, obj["metadata"].get("uid"), current)
        new = await target.view.writable(current)
        if not amounts.same(amounts.read(part(new, "spec"), "hard"), hard):
            raise target.conflict("the quota has changed since it was counted")
        counted = quotas.recounted(new, used, at)
        new["status"] = {"hard": amounts.write(hard), "used": amounts.write(counted)}
        return new

    async with quotas.alone():
        outcome = await change_object(ctx, request, target, Change(compute, STATUS, options))
        if not options.dry_run:
            quotas.counted(at)
    return ObjectResult(target.view, outcome.result)
