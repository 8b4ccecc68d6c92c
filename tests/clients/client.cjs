// The official client of JavaScript, unmodified: node client.cjs SCENARIO NAMESPACE. Ends with 1 at the first difference.
'use strict';
const assert = require('node:assert/strict');
const k8s = require('@kubernetes/client-node');

const [scenario, namespace] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

const named = (body) => ({ name: 'c', namespace, ...body });
const as = (type) => k8s.setHeaderOptions('Content-Type', type);
const refusedWith = (code) => (error) => error.code === code;

async function typed() {
  const made = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' }, data: { a: '1' } } });
  assert.ok(made.metadata.creationTimestamp instanceof Date);
  const read = await core.readNamespacedConfigMap(named());
  await core.replaceNamespacedConfigMap(named({ body: { ...read, data: { a: '2' } } }));
  await assert.rejects(core.replaceNamespacedConfigMap(named({ body: made })), refusedWith(409));
  const { items } = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=c' });
  assert.deepEqual(items.map((each) => each.data), [{ a: '2' }]);
  await core.deleteNamespacedConfigMap(named());
  await assert.rejects(core.readNamespacedConfigMap(named()), refusedWith(404));
}

async function patches() {
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' }, data: { a: '1' } } });
  const patch = (body, type, more) => core.patchNamespacedConfigMap(named({ body, ...more }), as(type));
  await patch([{ op: 'add', path: '/data/json', value: '1' }], k8s.PatchStrategy.JsonPatch);
  await patch({ data: { a: null } }, k8s.PatchStrategy.MergePatch);
  await patch({ data: { strategic: '1' } }, k8s.PatchStrategy.StrategicMergePatch);
  const applied = (value) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' }, data: { applied: value } });
  await patch(applied('1'), k8s.PatchStrategy.ServerSideApply, { fieldManager: 'one' });
  const { data } = await core.readNamespacedConfigMap(named());
  assert.deepEqual(data, { json: '1', strategic: '1', applied: '1' });
  const other = patch(applied('2'), k8s.PatchStrategy.ServerSideApply, { fieldManager: 'two' });
  await assert.rejects(other, refusedWith(409));
  await patch(applied('2'), k8s.PatchStrategy.ServerSideApply, { fieldManager: 'two', force: true });
}

async function watch() {
  const { metadata } = await core.listNamespacedConfigMap({ namespace });
  const seen = [];
  let done;
  const ended = new Promise((resolve) => { done = resolve; });
  const watching = await new k8s.Watch(config).watch(
    `/api/v1/namespaces/${namespace}/configmaps`,
    { resourceVersion: metadata.resourceVersion },
    (phase, object) => {
      seen.push([phase, object.metadata.name]);
      if (seen.length === 2) watching.abort();
    },
    done,
  );
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'watched' } } });
  await core.deleteNamespacedConfigMap({ namespace, name: 'watched' });
  await ended;
  assert.deepEqual(seen, [['ADDED', 'watched'], ['DELETED', 'watched']]);
}

async function informer() {
  const list = () => core.listNamespacedConfigMap({ namespace });
  const made = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list);
  const events = [];
  const deleted = new Promise((resolve, reject) => {
    made.on('add', (each) => each.metadata.name === 'c' && events.push('add'));
    made.on('update', () => events.push('update'));
    made.on('delete', resolve);
    made.on('error', reject);
  });
  await made.start();
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' } } });
  await core.patchNamespacedConfigMap(named({ body: { data: { a: '1' } } }), as(k8s.PatchStrategy.MergePatch));
  await core.deleteNamespacedConfigMap(named());
  await deleted;
  await made.stop();
  assert.deepEqual(events, ['add', 'update']);
}

async function custom() {
  const gadget = (spec) => ({ apiVersion: 'clients.example.com/v1', kind: 'Gadget', metadata: { name: 'g', namespace }, spec });
  const made = await objects.create(gadget({ colour: 'red' }));
  assert.deepEqual(made.spec, { colour: 'red', replicas: 1 });
  const patch = (spec, strategy, manager, force) =>
    objects.patch(gadget(spec), undefined, undefined, manager, force, strategy);
  await patch({ colour: 'blue' }, k8s.PatchStrategy.MergePatch);
  await patch({ replicas: 2 }, k8s.PatchStrategy.ServerSideApply, 'one', true);
  assert.deepEqual((await objects.read(gadget())).spec, { colour: 'blue', replicas: 2 });
  const { items } = await objects.list('clients.example.com/v1', 'Gadget', namespace);
  assert.equal(items.length, 1);
  await objects.delete(gadget());
  await assert.rejects(objects.read(gadget()), refusedWith(404));
}

({ typed, patches, watch, informer, custom })[scenario]().catch((error) => {
  console.error(error);
  process.exit(1);
});
