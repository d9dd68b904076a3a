// The training steps of peers/*.py by libtorch, through TorchSharp: `libtorch ROW [--threads N] [--round N] [--repeats N] [--seconds S]` prints the lines that the comparison reads.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

string Option(string name, string otherwise) => Array.IndexOf(args, name) is >= 0 and var i ? args[i + 1] : otherwise;
int threads = int.Parse(Option("--threads", "2"), CultureInfo.InvariantCulture);
int round = int.Parse(Option("--round", "0"), CultureInfo.InvariantCulture);
int repeats = int.Parse(Option("--repeats", "4"), CultureInfo.InvariantCulture);
double seconds = double.Parse(Option("--seconds", "0.2"), CultureInfo.InvariantCulture);
set_num_threads(threads);
random.manual_seed(1);

switch (args[0])
{
    case "transformer-step":
    {
        const int Vocabulary = 1000, Batch = 8, Length = 64;
        var source = Tokens(Batch, Length, Vocabulary);
        var tokens = Tokens(Batch, Length + 1, Vocabulary);
        var model = new Transformer(Vocabulary, Length);
        Measure("", Batch * Length, model, () => model.Loss(source, tokens));
        break;
    }

    case "seq2seq-step":
    {
        const int Vocabulary = 2000, Batch = 32, Length = 30;
        var source = Tokens(Batch, Length, Vocabulary);
        var tokens = Tokens(Batch, Length + 1, Vocabulary);
        foreach (string kind in new[] { "none", "dot", "additive" })
        {
            var model = new RecurrentSeq2Seq(kind, Vocabulary);
            Measure(kind, Batch * Length, model, () => model.Loss(source, tokens));
        }

        break;
    }

    case "lstm-step":
    {
        const int Vocabulary = 10000, Batch = 32, Length = 35;
        var model = new WordLstm(Vocabulary, Batch);
        using var all = arange(Batch * Length + 1).mul(7919).remainder(Vocabulary);
        var inputs = all[..^1].view(Length, Batch);
        var targets = all[1..];
        Measure("", Batch * Length, model, () => model.Loss(inputs, targets));
        break;
    }

    default:
        Console.Error.WriteLine("rows: transformer-step, seq2seq-step, lstm-step");
        return 2;
}

return 0;

static Tensor Tokens(int batch, int length, int vocabulary) => arange(batch * length).mul(7919).remainder(vocabulary).view(batch, length);

void Measure(string name, int tokens, nn.Module model, Func<Tensor> loss)
{
    var optimizer = optim.AdamW(model.parameters(), lr: 1e-4, weight_decay: 0.01);
    double forwardAndBackward = 0;
    float Step()
    {
        using var scope = NewDisposeScope();
        long start = Stopwatch.GetTimestamp();
        optimizer.zero_grad();
        Tensor value = loss();
        value.backward();
        forwardAndBackward += Stopwatch.GetElapsedTime(start).TotalSeconds;
        optimizer.step();
        return value.item<float>();
    }

    double Run(int count)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++)
        {
            Step();
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    Run(2);
    int count = Math.Max(1, (int)Math.Round(seconds / Run(1)));
    var times = new List<double>();
    var withoutUpdate = new List<double>();
    for (int i = 0; i < repeats; i++)
    {
        forwardAndBackward = 0;
        times.Add(Run(count) / count);
        withoutUpdate.Add(forwardAndBackward / count);
    }

    Console.Out.WriteLine(JsonSerializer.Serialize(new
    {
        row = args[0],
        @case = name,
        side = "libtorch",
        round,
        threads,
        runtime = "libtorch through TorchSharp " + typeof(torch).Assembly.GetName().Version,
        seconds = times,
        flops = 0,
        bytes = 0,
        tokens,
        values = new Dictionary<string, double> { ["without the update"] = withoutUpdate.Min() },
    }));
}

/// <summary>
/// One encoder and one decoder layer, as nn.TransformerEncoderLayer and nn.TransformerDecoderLayer are in Python: with attention that is one operation. TorchSharp's own layers write their
/// attention in several, which takes a few percent longer.
/// </summary>
internal sealed class Transformer : nn.Module
{
    private const int Width = 512, Heads = 8, FeedForward = 2048;
    private readonly Tensor _positions;
    private readonly TorchSharp.Modules.Embedding source, target;
    private readonly Attention encoderSelf = new(Width, Heads), decoderSelf = new(Width, Heads), cross = new(Width, Heads);
    private readonly TorchSharp.Modules.Linear encoderUp = nn.Linear(Width, FeedForward), encoderDown = nn.Linear(FeedForward, Width), decoderUp = nn.Linear(Width, FeedForward), decoderDown = nn.Linear(FeedForward, Width), head;
    private readonly TorchSharp.Modules.LayerNorm encoderNorm1 = nn.LayerNorm(Width), encoderNorm2 = nn.LayerNorm(Width), decoderNorm1 = nn.LayerNorm(Width), decoderNorm2 = nn.LayerNorm(Width), decoderNorm3 = nn.LayerNorm(Width);

    public Transformer(int vocabulary, int length)
        : base(nameof(Transformer))
    {
        (source, target, head) = (nn.Embedding(vocabulary, Width), nn.Embedding(vocabulary, Width), nn.Linear(Width, vocabulary));
        using var angles = arange(length).unsqueeze(1) * exp(arange(0, Width, 2) * (-Math.Log(10000) / Width));
        _positions = stack([angles.sin(), angles.cos()], dim: -1).view(length, Width);
        RegisterComponents();
    }

    public Tensor Loss(Tensor sources, Tensor tokens)
    {
        double scale = Math.Sqrt(Width);
        Tensor s = (source.call(sources) * scale) + _positions, x = (target.call(tokens[.., ..^1]) * scale) + _positions;
        Tensor memory = encoderNorm1.call(s + encoderSelf.Run(s, s, false));
        memory = encoderNorm2.call(memory + encoderDown.call(F.relu(encoderUp.call(memory))));
        x = decoderNorm1.call(x + decoderSelf.Run(x, x, true));
        x = decoderNorm2.call(x + cross.Run(x, memory, false));
        x = decoderNorm3.call(x + decoderDown.call(F.relu(decoderUp.call(x))));
        return F.cross_entropy(head.call(x).reshape(-1, head.out_features), tokens[.., 1..].reshape(-1));
    }
}

internal sealed class Attention : nn.Module
{
    private readonly int _width, _heads;
    private readonly TorchSharp.Modules.Linear? inProjection;
    private readonly TorchSharp.Modules.Linear outProjection;

    public Attention(int width, int heads)
        : base(nameof(Attention))
    {
        (_width, _heads) = (width, heads);
        inProjection = nn.Linear(width, 3 * width);
        outProjection = nn.Linear(width, width);
        RegisterComponents();
    }

    public Tensor Run(Tensor queries, Tensor keys, bool causal)
    {
        Tensor q, k, v;
        if (ReferenceEquals(queries, keys))
        {
            Tensor[] parts = inProjection!.call(queries).chunk(3, dim: -1);
            (q, k, v) = (parts[0], parts[1], parts[2]);
        }
        else
        {
            Tensor weight = inProjection!.weight!, bias = inProjection.bias!;
            q = F.linear(queries, weight[.._width], bias[.._width]);
            Tensor[] parts = F.linear(keys, weight[_width..], bias[_width..]).chunk(2, dim: -1);
            (k, v) = (parts[0], parts[1]);
        }

        Tensor Split(Tensor x) => x.view(x.shape[0], x.shape[1], _heads, _width / _heads).transpose(1, 2);
        Tensor attended = F.scaled_dot_product_attention(Split(q), Split(k), Split(v), is_casual: causal);
        return outProjection.call(attended.transpose(1, 2).reshape(queries.shape[0], queries.shape[1], _width));
    }
}

internal sealed class RecurrentSeq2Seq : nn.Module
{
    private const int Hidden = 512;
    private readonly string _kind;
    private readonly TorchSharp.Modules.Embedding source, target;
    private readonly TorchSharp.Modules.GRU encoder, decoder;
    private readonly TorchSharp.Modules.Linear? query, key, energy, combine;
    private readonly TorchSharp.Modules.Linear head;

    public RecurrentSeq2Seq(string kind, int vocabulary)
        : base(nameof(RecurrentSeq2Seq))
    {
        _kind = kind;
        (source, target) = (nn.Embedding(vocabulary, Hidden), nn.Embedding(vocabulary, Hidden));
        encoder = nn.GRU(Hidden, Hidden, batchFirst: true);
        decoder = nn.GRU(Hidden * (kind == "additive" ? 2 : 1), Hidden, batchFirst: true);
        if (kind == "additive")
        {
            (query, key, energy) = (nn.Linear(Hidden, Hidden, hasBias: false), nn.Linear(Hidden, Hidden, hasBias: false), nn.Linear(Hidden, 1, hasBias: false));
        }

        combine = kind == "none" ? null : nn.Linear(2 * Hidden, Hidden);
        head = nn.Linear(Hidden, vocabulary);
        RegisterComponents();
    }

    public Tensor Loss(Tensor sources, Tensor tokens)
    {
        (Tensor rows, Tensor state) = encoder.call(source.call(sources));
        Tensor x = target.call(tokens[.., ..^1]), h, context = rows;
        if (_kind == "additive")
        {
            Tensor keys = key!.call(rows);
            var hs = new List<Tensor>();
            var contexts = new List<Tensor>();
            for (int t = 0; t < x.shape[1]; t++)
            {
                Tensor scores = energy!.call(tanh(query!.call(state[-1]).unsqueeze(1) + keys)).squeeze(-1);
                Tensor seen = bmm(F.softmax(scores, -1).unsqueeze(1), rows);
                (Tensor each, state) = decoder.call(cat([x.narrow(1, t, 1), seen], dim: -1), state);
                hs.Add(each);
                contexts.Add(seen);
            }

            (h, context) = (cat(hs, dim: 1), cat(contexts, dim: 1));
        }
        else
        {
            (h, _) = decoder.call(x, state);
            if (_kind == "dot")
            {
                context = bmm(F.softmax(bmm(h, rows.transpose(1, 2)), -1), rows);
            }
        }

        if (combine is not null)
        {
            h = tanh(combine.call(cat([context, h], dim: -1)));
        }

        return F.cross_entropy(head.call(h).reshape(-1, head.out_features), tokens[.., 1..].reshape(-1));
    }
}

internal sealed class WordLstm : nn.Module
{
    private const int Hidden = 512;
    private readonly TorchSharp.Modules.Embedding embedding;
    private readonly TorchSharp.Modules.LSTM rnn;
    private readonly TorchSharp.Modules.Linear decoder;
    private readonly Tensor _state;

    public WordLstm(int vocabulary, int batch)
        : base(nameof(WordLstm))
    {
        embedding = nn.Embedding(vocabulary, Hidden);
        rnn = nn.LSTM(Hidden, Hidden, numLayers: 2);
        decoder = nn.Linear(Hidden, vocabulary);
        _state = zeros(2, batch, Hidden);
        RegisterComponents();
    }

    public Tensor Loss(Tensor inputs, Tensor targets)
    {
        (Tensor output, _, _) = rnn.call(embedding.call(inputs), (_state, _state));
        return F.cross_entropy(decoder.call(output).reshape(-1, decoder.out_features), targets);
    }
}
