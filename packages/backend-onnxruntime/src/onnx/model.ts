import { ProtobufWriter } from './protobuf.js';

/** ONNX's names for element types, with the numbers that the format gives them. */
export const ELEMENT_TYPES = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  bfloat16: 16,
} as const;

export type ElementType = keyof typeof ELEMENT_TYPES;

/** An attribute of a node: an integer, a float (spelled `{ float }`), a string or a list of one of them. */
export type Attribute =
  | number
  | string
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | readonly number[];

export interface OnnxNode {
  readonly op: string;
  readonly domain?: string;
  /** Names; the empty string leaves an optional input out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

export interface OnnxValue {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
}

export interface OnnxConstant extends OnnxValue {
  /** The numbers, little-endian; or where they lie in memory that the session is given beside the model. */
  readonly data: Uint8Array | { readonly location: string; readonly offset: number; readonly length: number };
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly constants: readonly OnnxConstant[];
}

/** The domains whose operators we write, with the versions that ONNX Runtime 1.30 knows. */
const OPSETS: Readonly<Record<string, number>> = { '': 21, 'com.microsoft': 1, 'com.microsoft.nchwc': 1 };
const IR_VERSION = 10;

const FLOAT = 1;
const INT = 2;
const STRING = 3;
const FLOATS = 6;
const INTS = 7;

/** A `ModelProto`. Field numbers are those of onnx.proto (ONNX 1.16, IR version 10). */
export function encodeModel(graph: OnnxGraph): Uint8Array {
  const model = new ProtobufWriter();
  model.int(1, IR_VERSION);
  const domains = new Set(['', ...graph.nodes.map((node) => node.domain ?? '')]);
  for (const domain of domains) {
    model.message(8, (opset) => {
      opset.string(1, domain);
      opset.int(2, OPSETS[domain] ?? 1);
    });
  }
  model.message(7, (out) => {
    out.string(2, 'lazy');
    graph.nodes.forEach((node, index) => {
      out.message(1, (inner) => writeNode(inner, node, index));
    });
    for (const constant of graph.constants) out.message(5, (inner) => writeConstant(inner, constant));
    for (const value of graph.inputs) out.message(11, (inner) => writeValue(inner, value));
    for (const value of graph.outputs) out.message(12, (inner) => writeValue(inner, value));
  });
  return model.finish();
}

/** The name under which ONNX Runtime speaks of a node. */
export function nodeName({ op }: OnnxNode, index: number): string {
  return `${op}_${index}`;
}

function writeNode(out: ProtobufWriter, node: OnnxNode, index: number): void {
  for (const name of node.inputs) out.string(1, name);
  for (const name of node.outputs) out.string(2, name);
  out.string(3, nodeName(node, index));
  out.string(4, node.op);
  if (node.domain !== undefined) out.string(7, node.domain);
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    out.message(5, (attribute) => {
      attribute.string(1, name);
      writeAttribute(attribute, value);
    });
  }
}

function writeAttribute(out: ProtobufWriter, value: Attribute): void {
  if (typeof value === 'number') {
    out.int(3, value);
    out.int(20, INT);
  } else if (typeof value === 'string') {
    out.string(4, value);
    out.int(20, STRING);
  } else if ('float' in value) {
    out.float(2, value.float);
    out.int(20, FLOAT);
  } else if ('floats' in value) {
    out.packedFloats(7, value.floats);
    out.int(20, FLOATS);
  } else {
    out.packedInts(8, value);
    out.int(20, INTS);
  }
}

function writeConstant(out: ProtobufWriter, { name, type, shape, data }: OnnxConstant): void {
  out.packedInts(1, shape);
  out.int(2, ELEMENT_TYPES[type]);
  out.string(8, name);
  if (data instanceof Uint8Array) {
    out.bytes(9, data);
    return;
  }
  const entries = { location: data.location, offset: String(data.offset), length: String(data.length) };
  for (const [key, value] of Object.entries(entries)) {
    out.message(13, (entry) => {
      entry.string(1, key);
      entry.string(2, value);
    });
  }
  out.int(14, 1);
}

function writeValue(out: ProtobufWriter, { name, type, shape }: OnnxValue): void {
  out.string(1, name);
  out.message(2, (proto) => {
    proto.message(1, (tensor) => {
      tensor.int(1, ELEMENT_TYPES[type]);
      tensor.message(2, (dims) => {
        for (const size of shape) dims.message(1, (dim) => dim.int(1, size));
      });
    });
  });
}
