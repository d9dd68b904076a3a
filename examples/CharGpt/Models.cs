using ModelGen;

namespace CharGpt;

/// <summary>nanoGPT's configuration for a CPU, over bytes.</summary>
[Gpt(Layers = 4, DModel = 128, Heads = 4, Vocab = 256, Context = 64)]
[Trainable(BatchSize = 12, SequenceLength = 64)]
public partial class StoryGpt;

/// <summary>A recurrent model of about the same number of parameters.</summary>
[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Hidden = 224, Embedding = 128, Vocab = 256)]
[Trainable(BatchSize = 12, SequenceLength = 64)]
public partial class StoryLstm;
