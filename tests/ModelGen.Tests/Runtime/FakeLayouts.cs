using ModelGen.Runtime;

namespace ModelGen.Tests.Runtime;

/// <summary>Layouts of hand-written models, in the numbers that matter to them.</summary>
internal static class FakeLayouts
{
    /// <summary>A step (entry point 0) and an evaluation (1) over inputs and targets of the same positions.</summary>
    /// <param name="name">The model's name.</param>
    /// <param name="arenaFloats">The size of the arena.</param>
    /// <param name="stateFloats">The size of the carried state.</param>
    /// <param name="batch">The examples of a micro-batch.</param>
    /// <param name="sequence">The positions of an example.</param>
    /// <param name="inputSize">The elements of a position's input.</param>
    /// <param name="targetSize">The elements of a position's target.</param>
    /// <param name="inputClasses">The number of input ids; 0 for floats.</param>
    /// <param name="targetClasses">The number of classes; 0 for floats.</param>
    /// <param name="step">Where the step's plan takes inputs and targets and leaves its loss.</param>
    /// <param name="evaluate">Where the evaluation's does, which leaves as many losses as there are positions.</param>
    /// <param name="scratchBytes">Each worker's scratch memory.</param>
    public static ProgramLayout Trainer(
        string name, long arenaFloats, int stateFloats, int batch, int sequence, int inputSize, int targetSize, int inputClasses, int targetClasses,
        (long Inputs, long Targets, long Loss) step, (long Inputs, long Targets, long Losses) evaluate, long scratchBytes = 0)
    {
        int positions = batch * sequence;
        EntryInput[] Inputs((long Inputs, long Targets, long Loss) places) =>
        [
            new EntryInput("inputs", places.Inputs, positions * inputSize) { Classes = inputClasses },
            new EntryInput("targets", places.Targets, positions * targetSize) { Classes = targetClasses, MayBeIgnored = targetClasses > 0 },
        ];
        return new ProgramLayout
        {
            ModelName = name,
            ArenaBytes = arenaFloats * sizeof(float),
            StateBytes = stateFloats * sizeof(float),
            ScratchBytes = scratchBytes,
            BatchSize = batch,
            SequenceLength = sequence,
            Entries =
            [
                new EntryLayout { Name = "Step", Inputs = Inputs(step), Outputs = [new EntryOutput("loss", step.Loss, 1)], IsStep = true },
                new EntryLayout { Name = "Evaluate", Inputs = Inputs(evaluate), Outputs = [new EntryOutput("losses", evaluate.Losses, positions)] },
            ],
        };
    }

    /// <summary>A prefill (entry point 0) and a decode (1).</summary>
    /// <param name="name">The model's name.</param>
    /// <param name="arenaFloats">The size of the arena.</param>
    /// <param name="stateFloats">The size of the state.</param>
    /// <param name="vocabulary">The number of token ids.</param>
    /// <param name="context">The most tokens of a session; 0 for no limit.</param>
    /// <param name="chunk">The most tokens of a prefill run.</param>
    /// <param name="prefill">Where the prefill plan takes tokens and leaves logits.</param>
    /// <param name="decode">Where the decode plan does.</param>
    /// <param name="scratchBytes">Each worker's scratch memory.</param>
    /// <param name="batch">The most sequences of a session.</param>
    public static ProgramLayout Causal(
        string name, long arenaFloats, int stateFloats, int vocabulary, int context, int chunk, (long Tokens, long Logits) prefill, (long Tokens, long Logits) decode, long scratchBytes = 0, int batch = 1)
        => new()
        {
            ModelName = name,
            MaximumBatch = batch,
            ArenaBytes = arenaFloats * sizeof(float),
            StateBytes = stateFloats * sizeof(float),
            ScratchBytes = scratchBytes,
            ContextLength = context,
            Entries =
            [
                new EntryLayout
                {
                    Name = "Prefill",
                    Inputs = [new EntryInput("tokens", prefill.Tokens, 1) { Extents = [0], Classes = vocabulary }],
                    Outputs = [new EntryOutput("logits", prefill.Logits, vocabulary)],
                    Extents = [new EntryExtent("steps", chunk)],
                    Continues = true,
                },
                new EntryLayout
                {
                    Name = "Decode",
                    Inputs = [new EntryInput("tokens", decode.Tokens, 1) { Classes = vocabulary }],
                    Outputs = [new EntryOutput("logits", decode.Logits, vocabulary)],
                    Continues = true,
                },
            ],
        };

    /// <summary>A prediction (entry point 0).</summary>
    /// <param name="name">The model's name.</param>
    /// <param name="arenaFloats">The size of the arena.</param>
    /// <param name="inputSize">The elements of a row of inputs.</param>
    /// <param name="outputSize">The elements of a row of outputs.</param>
    /// <param name="batch">The most rows of a run.</param>
    /// <param name="inputs">Where the plan takes inputs.</param>
    /// <param name="outputs">Where it leaves outputs.</param>
    public static ProgramLayout FeedForward(string name, long arenaFloats, int inputSize, int outputSize, int batch, long inputs, long outputs) => new()
    {
        ModelName = name,
        ArenaBytes = arenaFloats * sizeof(float),
        ScratchBytes = 0,
        Entries =
        [
            new EntryLayout
            {
                Name = "Predict",
                Inputs = [new EntryInput("inputs", inputs, inputSize) { Extents = [0] }],
                Outputs = [new EntryOutput("outputs", outputs, outputSize) { Extents = [0] }],
                Extents = [new EntryExtent("batch", batch)],
            },
        ],
    };
}
