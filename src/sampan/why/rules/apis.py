"""APIServices that are not available, and definitions that are not served."""

from __future__ import annotations

from sampan.api.reading import part, parts, text
from sampan.api.resources import API_SERVICES, CUSTOM_RESOURCE_DEFINITIONS, SERVICES
from sampan.api.types import Obj
from sampan.why.model import Action, Cause, Fix, Lead, Ref, ref_of
from sampan.why.states import condition_of, state
from sampan.why.table import Found, rule
from sampan.why.world import World


@rule("apiservice-away", API_SERVICES, says="whether the API server behind it answers")
def away(world: World, api_service: Obj) -> Found:
    found = condition_of(api_service, "Available")
    if found.get("status") == "True":
        return
    ref = ref_of(API_SERVICES, api_service)
    service = part(part(api_service, "spec"), "service")
    name, namespace = text(service, "name"), text(service, "namespace")
    there = world.get(SERVICES, name, namespace)
    if there is not None and state(world, SERVICES, there).well is False:
        yield Lead(Ref(SERVICES, name, namespace), "is answered by")
    gone = bool(name) and world.absent(SERVICES, name, namespace)
    yield Cause(
        f"{ref.place} is not available: "
        + (
            f"its Service {namespace}/{name} does not exist."
            if gone
            else f"its server does not answer ({text(found, 'reason')})."
        ),
        (text(found, "message"),),
        Fix(
            "bring its server back; if it is gone for good, delete the APIService, which holds up discovery and the "
            "deletion of namespaces",
            (Action("delete", ref),) if gone else (),
            "its kinds are gone for everybody until it is made again" if gone else "",
        ),
        rank=1 if gone else 40,
    )


@rule("definition-names", CUSTOM_RESOURCE_DEFINITIONS, says="names that another definition has")
def names(world: World, definition: Obj) -> Found:
    found = condition_of(definition, "NamesAccepted")
    if found.get("status") == "False":
        ref = ref_of(CUSTOM_RESOURCE_DEFINITIONS, definition)
        yield Cause(
            f"{ref.place} is not served: a name of it is another definition's ({text(found, 'reason')}).",
            (text(found, "message"),),
            Fix("give it names of its own, or delete the other definition"),
            rank=0,
        )


@rule("definition-schema", CUSTOM_RESOURCE_DEFINITIONS, says="whether its schema is structural")
def schema(world: World, definition: Obj) -> Found:
    found = condition_of(definition, "NonStructuralSchema")
    if found.get("status") == "True":
        versions = [text(each, "name") for each in parts(part(definition, "spec"), "versions")]
        yield Cause(
            f"{ref_of(CUSTOM_RESOURCE_DEFINITIONS, definition).place} has a schema that is not structural.",
            (text(found, "message"), f"versions: {', '.join(versions)}"),
            Fix("mend the schema where the message says"),
            rank=1,
        )
