import type { HostTensor, Param, StateDict } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { broadcastJson } from './agreement.js';
import type { Group } from './group.js';

/** The tensors of rank `root` on every rank; others give none. */
export async function broadcastStateDict(group: Group, tensors: StateDict | undefined, root = 0): Promise<StateDict> {
  if (group.size === 1) return tensors!;
  const names =
    group.rank === root
      ? Object.entries(tensors!).map(([name, { shape, data }]) => ({ name, shape, whole: data instanceof Int32Array }))
      : undefined;
  const got: Record<string, HostTensor> = {};
  for (const { name, shape, whole } of await broadcastJson(group, names, root)) {
    const length = shape.reduce((product, n) => product * n, 1);
    const data = tensors?.[name]?.data ?? new (whole ? Int32Array : Float32Array)(length);
    got[name] = { shape, data: await group.broadcast(data, root) };
  }
  return got;
}

/** Gives every rank the parameters of rank `root`. All ranks have parameters of the same keys and shapes. */
export async function broadcastParams(group: Group, params: ReadonlyMap<string, Param>, root = 0): Promise<void> {
  if (group.size === 1) return;
  for (const param of params.values()) {
    const own = group.rank === root ? ((await param.variable.data()) as Float32Array) : new Float32Array(param.size);
    const values = await group.broadcast(own, root);
    if (group.rank === root) continue;
    const tensor = tf.tensor(values, [...param.shape], 'float32');
    param.variable.assign(tensor);
    tensor.dispose();
  }
}
