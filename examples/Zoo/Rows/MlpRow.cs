using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using Examples;
using ModelGen;
using ModelGen.Plots;

namespace Zoo.Rows;

/// <summary>Rumelhart, Hinton and Williams' exclusive or (1986), with the loss of that time.</summary>
[Mlp(2, 4, 1, Activation = Activation.Tanh, OutputActivation = Activation.Sigmoid, Loss = Loss.SquaredError)]
[Trainable(BatchSize = 4)]
public partial class XorNet;

/// <summary>Two spirals that wind around each other (Lang and Witbrock, 1988), as probabilities of one of them.</summary>
[Mlp(2, 64, 64, 1, Activation = Activation.Tanh, Loss = Loss.BinaryCrossEntropy)]
[Trainable(BatchSize = 97)]
public partial class SpiralNet;

/// <summary>Handwritten digits of 28 × 28 pixels.</summary>
[Mlp(784, 256, 128, 10)]
[Trainable(BatchSize = 100)]
public partial class DigitNet;

/// <summary>Feed-forward nets with each of the three losses.</summary>
internal sealed class MlpRow : ZooRow
{
    private const int Side = 28;
    private const int Pixels = Side * Side;

    public override string Name => "mlp";

    public override string Family => "Mlp";

    public override string Description => "Feed-forward nets: exclusive or, two spirals, and handwritten digits where MNIST's files are at hand.";

    public override string? TextHelp => "images in MNIST's format (idx3-ubyte, gzip or not), with the labels beside it in a file of the same name with labels-idx1 for images-idx3";

    public override RowOutcome Run(RowContext context)
    {
        (double xor, _) = Xor(context);
        double spirals = Spirals(context);
        var further = new List<Figure>
        {
            new("exclusive or: the largest error of the four outputs", xor, 0.1, LowerIsBetter: true),
            new("two spirals: accuracy between the training points", spirals, 0.99),
        };
        string? images = context.TextPath ?? context.Data("mnist", "t10k-images-idx3-ubyte.gz");
        if (images is null)
        {
            context.Message("MNIST's files are not here (MODELGEN_TEST_DATA or --text): the digits are left out.");
            return new RowOutcome(SpiralNet.ParameterCount, [further[1], further[0]]);
        }
        double digits = Digits(context, images);
        return new RowOutcome(DigitNet.ParameterCount, [new Figure("held-out digits: accuracy", digits, 0.97) { Peer = "mlp-digits" }, .. further]);
    }

    private static (double LargestError, float[] Outputs) Xor(RowContext context)
    {
        float[] inputs = [0, 0, 0, 1, 1, 0, 1, 1], targets = [0, 1, 1, 0];
        XorNet model = XorNet.Create(context.Seed);
        using (XorNet.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.05f, WeightDecay = 0 }))
            context.Train("exclusive or", 1500, "examples", 4, _ => trainer.Step(inputs, targets), trainer);
        using XorNet.Session session = model.CreateSession();
        var outputs = new float[4];
        session.Predict(inputs, outputs);
        return (Enumerable.Range(0, 4).Max(i => Math.Abs(outputs[i] - targets[i])), outputs);
    }

    /// <summary>The points of the spirals, 97 on each; between them where the phase is a half.</summary>
    private static (float[] Inputs, float[] Targets) Spiral(double phase, int points)
    {
        var inputs = new float[points * 4];
        var targets = new float[points * 2];
        for (int i = 0; i < points; i++)
        {
            double angle = (i + phase) * Math.PI / 16, radius = (104 - (i + phase)) / 104;
            for (int arm = 0; arm < 2; arm++)
            {
                double sign = arm == 0 ? 1 : -1;
                inputs[(2 * i + arm) * 2] = (float)(sign * radius * Math.Sin(angle));
                inputs[(2 * i + arm) * 2 + 1] = (float)(sign * radius * Math.Cos(angle));
                targets[2 * i + arm] = arm;
            }
        }
        return (inputs, targets);
    }

    private static double Spirals(RowContext context)
    {
        (float[] inputs, float[] targets) = Spiral(0, 97);
        (float[] between, float[] expected) = Spiral(0.5, 96);
        SpiralNet model = SpiralNet.Create(context.Seed);
        const int Batch = 97;
        using (SpiralNet.Trainer trainer = model.CreateTrainer(new AdamW { LearningRate = 0.01f, WeightDecay = 0.01f, Schedule = new WarmupCosine(100, 6000, 0.05) }))
        {
            context.Train("two spirals", 6000, "examples", Batch, step =>
            {
                int half = (int)(step % 2) * Batch;
                return trainer.Step(inputs.AsSpan(half * 2, Batch * 2), targets.AsSpan(half, Batch));
            }, trainer);
        }
        using SpiralNet.Session session = model.CreateSession();
        var outputs = new float[expected.Length];
        session.Predict(between, outputs);
        if (context.Plot("mlp-spirals") is { } plot)
            DrawSpirals(session, inputs, targets, plot);
        return Enumerable.Range(0, expected.Length).Average(i => (outputs[i] > 0.5f) == (expected[i] > 0.5f) ? 1.0 : 0.0);
    }

    /// <summary>The probability of one of the spirals all over the plane, and the training points on it.</summary>
    private static void DrawSpirals(SpiralNet.Session session, float[] points, float[] spirals, string path)
    {
        const int Cells = 160;
        const double Extent = 1.1;
        var places = new float[Cells * Cells * 2];
        var probabilities = new float[Cells * Cells];
        for (int row = 0; row < Cells; row++)
        {
            for (int column = 0; column < Cells; column++)
            {
                places[((row * Cells) + column) * 2] = (float)(Extent * ((2 * column) + 1 - Cells) / Cells);
                places[(((row * Cells) + column) * 2) + 1] = (float)(Extent * ((2 * row) + 1 - Cells) / Cells);
            }
        }
        session.Predict(places, probabilities);
        MapPoint[] marks = [.. spirals.Select((spiral, i) => new MapPoint("", points[2 * i], points[(2 * i) + 1], spiral > 0.5f ? "one spiral" : "the other"))];
        Pictures.DecisionMap("Two spirals: the probability of one of them", probabilities, Cells, Extent, marks).SaveBoth(path);
    }

    /// <summary>Trains on nine tenths of the file, each image moved, turned and scaled a little anew whenever it is drawn, and tests on the rest.</summary>
    private static double Digits(RowContext context, string path)
    {
        (byte[] images, byte[] labels) = Read(path);
        var random = new CounterRandom((ulong)context.Seed, 7);
        int[] order = [.. Enumerable.Range(0, labels.Length)];
        random.Shuffle(order.AsSpan());
        int heldOut = labels.Length / 10, training = labels.Length - heldOut;

        DigitNet model = DigitNet.Create(context.Seed);
        const int Batch = 100, Steps = 6000;
        var inputs = new float[Batch * Pixels];
        var targets = new int[Batch];
        int[] expected = [.. order[training..].Select(image => (int)labels[image])];
        var test = new float[heldOut * Pixels];
        for (int i = 0; i < heldOut; i++)
        {
            for (int p = 0; p < Pixels; p++)
                test[i * Pixels + p] = images[order[training + i] * Pixels + p] / 255f;
        }
        var optimizer = new AdamW { LearningRate = 2e-3f, WeightDecay = 0.01f, Schedule = context.Cosine(Steps, warmup: 100) };
        using (DigitNet.Trainer trainer = model.CreateTrainer(optimizer))
        {
            context.Export("mlp-digits", model.Save, optimizer, Steps)?.Batch("inputs", inputs, Batch, Pixels).Batch("targets", targets, Batch)
                .Data("inputs", test, heldOut, Pixels).Data("targets", expected, heldOut);
            context.Train($"digits: {training} to train on, {heldOut} held out", Steps, "images", Batch, _ =>
            {
                for (int i = 0; i < Batch; i++)
                {
                    int image = order[random.NextInt32(training)];
                    Distort(images.AsSpan(image * Pixels, Pixels), inputs.AsSpan(i * Pixels, Pixels), ref random);
                    targets[i] = labels[image];
                }
                return trainer.Step(inputs, targets);
            }, trainer);
        }

        using DigitNet.Session session = model.CreateSession();
        var outputs = new float[heldOut * 10];
        session.Predict(test, outputs);
        int[] given = [.. Enumerable.Range(0, heldOut).Select(i => Sampler.ArgMax(outputs.AsSpan(i * 10, 10)))];
        if (context.Plot("mlp-digits-loss") is { } losses)
            Pictures.LossCurves("A net over digits", [Line.OfSteps("training", context.Losses)]).SaveBoth(losses);
        if (context.Plot("mlp-digits-confusions") is { } plot)
        {
            var confusions = new int[10, 10];
            for (int i = 0; i < heldOut; i++)
                confusions[expected[i], given[i]]++;
            Pictures.ConfusionMatrix("Held-out digits", confusions, [.. Enumerable.Range(0, 10).Select(digit => digit.ToString(CultureInfo.InvariantCulture))]).SaveBoth(plot);
        }
        return given.Zip(expected).Average(pair => pair.First == pair.Second ? 1.0 : 0.0);
    }

    /// <summary>The image, moved by up to two pixels, turned by up to twelve degrees and scaled by up to a tenth, by bilinear interpolation; 0 to 1.</summary>
    private static void Distort(ReadOnlySpan<byte> image, Span<float> result, ref CounterRandom random)
    {
        const float Centre = (Side - 1) / 2f;
        float angle = (random.NextSingle() * 2 - 1) * 0.21f, scale = 1 + (random.NextSingle() * 2 - 1) * 0.1f;
        float dx = (random.NextSingle() * 2 - 1) * 2, dy = (random.NextSingle() * 2 - 1) * 2;
        (float sin, float cos) = MathF.SinCos(angle);
        (sin, cos) = (sin * scale, cos * scale);
        for (int y = 0; y < Side; y++)
        {
            for (int x = 0; x < Side; x++)
            {
                float sourceX = cos * (x - Centre) - sin * (y - Centre) + Centre + dx, sourceY = sin * (x - Centre) + cos * (y - Centre) + Centre + dy;
                int left = (int)MathF.Floor(sourceX), top = (int)MathF.Floor(sourceY);
                float right = sourceX - left, bottom = sourceY - top;
                float above = At(image, left, top) * (1 - right) + At(image, left + 1, top) * right;
                float below = At(image, left, top + 1) * (1 - right) + At(image, left + 1, top + 1) * right;
                result[y * Side + x] = (above * (1 - bottom) + below * bottom) / 255f;
            }
        }
    }

    private static float At(ReadOnlySpan<byte> image, int x, int y) => (uint)x < Side && (uint)y < Side ? image[y * Side + x] : 0;

    private static (byte[] Images, byte[] Labels) Read(string path)
    {
        string labelsPath = path.Replace("images-idx3", "labels-idx1", StringComparison.Ordinal);
        byte[] images = Unzip(path), labels = Unzip(labelsPath);
        if (images.Length < 16 || BinaryPrimitives.ReadInt32BigEndian(images) != 2051)
            throw new UserException($"{path}: expected images in MNIST's format.");
        int count = BinaryPrimitives.ReadInt32BigEndian(images.AsSpan(4));
        if (count < 1000 || images.Length != 16 + (long)count * Pixels)
            throw new UserException(FormattableString.Invariant($"{path}: expected at least 1000 images of {Side} × {Side} pixels, found {images.Length} bytes for {count} images."));
        if (labels.Length != 8 + count || BinaryPrimitives.ReadInt32BigEndian(labels) != 2049 || labels.AsSpan(8).ContainsAnyExceptInRange((byte)0, (byte)9))
            throw new UserException($"{labelsPath}: expected the label, 0 to 9, of each of the {count} images.");
        return (images[16..], labels[8..]);
    }

    private static byte[] Unzip(string path)
    {
        if (!File.Exists(path))
            throw new UserException($"{path}: there is no such file.");
        byte[] bytes = File.ReadAllBytes(path);
        if (bytes is not [0x1f, 0x8b, ..])
            return bytes;
        using var stream = new GZipStream(new MemoryStream(bytes), CompressionMode.Decompress);
        using var result = new MemoryStream();
        stream.CopyTo(result);
        return result.ToArray();
    }
}
