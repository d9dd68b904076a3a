// A user's program: declares a model of each family, trains each ten steps on made-up data, and prints what happened, one fact to a line.
using System.Globalization;
using System.Runtime.CompilerServices;
using ModelGen;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
Console.WriteLine($"vector_bits {ComputePath.VectorBits}");
Console.WriteLine($"path {ComputePath.Name}");
Console.WriteLine($"dynamic_code {RuntimeFeature.IsDynamicCodeSupported}");

const int rows = 3, time = 29, vocabulary = 53;
var inputs = new int[rows * time];
var targets = new int[rows * time];
uint state = 1;
for (int i = 0; i < inputs.Length; i++)
{
    state = (state * 1664525) + 1013904223;
    inputs[i] = (int)((state >> 8) % vocabulary);
    targets[i] = ((inputs[i] * 7) + 3) % vocabulary;
}

float[] corners = [0, 0, 0, 1, 1, 0, 1, 1];
int[] exclusiveOr = [0, 1, 1, 0];

TinyGpt gpt = TinyGpt.Create(seed: 1);
using (TinyGpt.Trainer trainer = gpt.CreateTrainer(new AdamW { LearningRate = 3e-3f }))
{
    Train("gpt", () => trainer.Step(inputs, targets));
}

using (TinyGpt.Session session = gpt.CreateSession())
{
    ReadOnlySpan<float> logits = session.Prefill(inputs.AsSpan(0, 11));
    Console.WriteLine($"gpt prefill {logits.Length} {logits[0]:R} {logits[^1]:R}");
    logits = session.Decode(inputs[11]);
    Console.WriteLine($"gpt decode {session.Position} {logits[0]:R} {logits[^1]:R}");
}

using (TinyLstm.Trainer trainer = TinyLstm.Create(seed: 1).CreateTrainer(new AdamW { LearningRate = 1e-2f }))
{
    Train("lstm", () => trainer.Step(inputs, targets));
}

using (TinyGru.Trainer trainer = TinyGru.Create(seed: 1).CreateTrainer(new AdamW { LearningRate = 1e-2f }))
{
    Train("gru", () => trainer.Step(inputs, targets));
}

using (Xor.Trainer trainer = Xor.Create(seed: 3).CreateTrainer(new AdamW { LearningRate = 3e-2f }))
{
    Train("mlp", () => trainer.Step(corners, exclusiveOr));
}

static void Train(string name, Func<float> step)
{
    for (int i = 0; i < 10; i++)
    {
        Console.WriteLine($"{name} {i} {step():R}");
    }
}

/// <summary>A transformer whose sizes are multiples of no vector width.</summary>
[Gpt(Layers = 2, DModel = 60, Heads = 5, Vocab = 53, Context = 37)]
[Trainable(BatchSize = 3, SequenceLength = 29)]
public partial class TinyGpt;

/// <summary>Two LSTM layers.</summary>
[RecurrentLm(Cell = Cell.Lstm, Layers = 2, Hidden = 37, Embedding = 23, Vocab = 53)]
[Trainable(BatchSize = 3, SequenceLength = 29)]
public partial class TinyLstm;

/// <summary>One GRU layer.</summary>
[RecurrentLm(Cell = Cell.Gru, Layers = 1, Hidden = 31, Embedding = 31, Vocab = 53)]
[Trainable(BatchSize = 3, SequenceLength = 29)]
public partial class TinyGru;

/// <summary>The smallest network that learns exclusive or.</summary>
[Mlp(2, 8, 2, Activation = Activation.Tanh, Loss = Loss.CrossEntropy)]
[Trainable(BatchSize = 4)]
public partial class Xor;
