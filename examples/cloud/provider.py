"""The smallest external cloud: machines from a dict, over HTTP. Run it, and name its URL with --cloud-config."""

from aiohttp import web

MACHINES = {"n1": {"providerID": "toy://1", "zone": "a", "region": "home", "instanceType": "small"}}


async def machine(request: web.Request) -> web.Response:
    node = await request.json()
    found = MACHINES.get(node["name"])
    return web.json_response(found or {}, status=200 if found else 404)


async def features(request: web.Request) -> web.Response:
    return web.json_response({"name": "toy", "features": ["instances"]})


app = web.Application()
app.add_routes([web.get("/v1", features), web.post("/v1/machine", machine)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=8090)
