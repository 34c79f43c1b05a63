import '../../src/index.js';
import { specsRunOn } from './environment.js';

specsRunOn('onnxruntime');
