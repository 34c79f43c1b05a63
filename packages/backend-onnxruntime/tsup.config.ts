import { library } from '@mezzotint/tsup';

export default library({ index: 'src/index.ts', 'onnx-model': 'src/onnx/model.ts' });
