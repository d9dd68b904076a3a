namespace ModelGen.Tests.Cuda;

// Tiny models with a path for devices: every kernel of theirs is run by the machine for PTX.

[Gpt(Layers = 2, DModel = 12, Heads = 2, Vocab = 17, Context = 9)]
[Trainable(BatchSize = 2, SequenceLength = 5)]
[Cuda]
public partial class DeviceGpt;

[Mlp(5, 7, 3)]
[Trainable(BatchSize = 4)]
[Cuda]
public partial class DeviceMlp;
