/** The engines that `useBackend` knows; each is the name under which TensorFlow.js registers the backend. */
export const ENGINE_NAMES = ['tensorflow', 'onnxruntime', 'wasm', 'cpu'] as const;

/** Name of an engine. */
export type EngineName = (typeof ENGINE_NAMES)[number];

/**
 * An engine as one asks for it, and as TensorFlow.js registers it: its name, or `onnxruntime:PROVIDER` for an execution
 * provider of ONNX Runtime other than its cpu (`onnxruntime:webgpu`).
 */
export type EngineChoice = EngineName | `onnxruntime:${string}`;

/** What a loaded engine says of itself. */
export interface EngineFacts {
  /** Version of what computes: TensorFlow's, ONNX Runtime's, else the npm package's. */
  readonly version: string;
  /** For example `gpu`, `cpu`, `cpu, simd`. */
  readonly device: string;
  /** False where it has no gradients. */
  readonly trains: boolean;
  /** What one should know before choosing it, one line each. */
  readonly limits: readonly string[];
}

/** An engine and how to load it. */
export interface Engine {
  readonly name: EngineName;
  /**
   * Loads, registers and activates the engine, on an execution provider where it has several. Throws an Error whose
   * message is the reason when it cannot.
   */
  load(provider?: string): Promise<EngineFacts>;
}
