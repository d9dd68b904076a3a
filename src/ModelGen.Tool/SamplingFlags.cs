using System.CommandLine;
using System.Globalization;

namespace ModelGen.Tool;

/// <summary>The options of a command line that say how tokens are chosen.</summary>
internal sealed class SamplingFlags
{
    private readonly Option<float> _temperature = new("--temperature") { Description = "0 takes the likeliest token, 1 draws by the model's own distribution.", HelpName = "T", DefaultValueFactory = static _ => 0.8f };
    private readonly Option<float?> _dynamic = new("--dynamic-temperature") { Description = "The temperature goes from T - R to T + R, by how undecided the model is.", HelpName = "R" };
    private readonly Option<int> _topK = new("--top-k") { Description = "Draw among so many of the likeliest tokens; 0 for all.", HelpName = "N", DefaultValueFactory = static _ => 0 };
    private readonly Option<float> _topP = new("--top-p") { Description = "Draw among the likeliest tokens that together have this probability.", HelpName = "P", DefaultValueFactory = static _ => 1f };
    private readonly Option<float?> _minP = new("--min-p") { Description = "Draw among tokens with this part of the likeliest one's probability.", HelpName = "P" };
    private readonly Option<float?> _typical = new("--typical") { Description = "Draw among tokens that are about as surprising as expected, of this probability together.", HelpName = "P" };
    private readonly Option<float?> _topNSigma = new("--top-n-sigma") { Description = "Draw among tokens whose logits are within N standard deviations of the largest.", HelpName = "N" };
    private readonly Option<string?> _xtc = new("--xtc") { Description = "With a probability, leave out all but the least likely of the tokens that reach a threshold: 0.5,0.1.", HelpName = "P,THRESHOLD" };
    private readonly Option<string?> _mirostat = new("--mirostat") { Description = "Aim at a surprise of each token, in bits, by a rate: 5,0.1. Takes the place of what leaves tokens out.", HelpName = "BITS,RATE" };
    private readonly Option<float?> _repetition = new("--repeat-penalty") { Description = "Divide the logits of tokens that were used by this.", HelpName = "X" };
    private readonly Option<float?> _frequency = new("--frequency-penalty") { Description = "Take this off a token's logit for each time that it was used.", HelpName = "X" };
    private readonly Option<float?> _presence = new("--presence-penalty") { Description = "Take this off the logit of a token that was used.", HelpName = "X" };
    private readonly Option<int> _last = new("--repeat-last") { Description = "How many of the last tokens the penalties look at.", HelpName = "N", DefaultValueFactory = static _ => 64 };
    private readonly Option<float?> _dry = new("--dry") { Description = "Penalize tokens that would lengthen a repetition, from two tokens on, by this and more the longer it is.", HelpName = "X" };
    private readonly Option<string[]> _bias = new("--logit-bias") { Description = "Add to a token's logit: 15043=-2, or 15043=-inf to exclude it. May be given several times.", HelpName = "ID=X" };
    private readonly Option<ulong> _seed = new("--seed") { Description = "The same seed draws the same tokens.", HelpName = "N", DefaultValueFactory = static _ => 0 };

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_temperature, _dynamic, _topK, _topP, _minP, _typical, _topNSigma, _xtc, _mirostat, _repetition, _frequency, _presence, _last, _dry, _bias, _seed])
        {
            command.Options.Add(option);
        }
    }

    /// <summary>What the command line says, as options; each checks itself.</summary>
    public SamplingOptions Read(ParseResult result) => UsageException.Of(() =>
    {
        float temperature = result.GetValue(_temperature);
        ulong seed = result.GetValue(_seed);
        float? repetition = result.GetValue(_repetition);
        float? frequency = result.GetValue(_frequency);
        float? presence = result.GetValue(_presence);
        var chain = new List<SamplingStep>();
        if (result.GetValue(_bias) is { Length: > 0 } biases)
        {
            chain.Add(UsageException.Of(() => SamplingStep.LogitBias(biases.Select(Bias)), _bias.Name));
        }

        if (repetition is not null || frequency is not null || presence is not null)
        {
            chain.Add(UsageException.Of(() => SamplingStep.Penalties(result.GetValue(_last), repetition ?? 1, frequency ?? 0, presence ?? 0), "--repeat-last, --repeat-penalty, --frequency-penalty, --presence-penalty"));
        }

        Add(_dry, static x => SamplingStep.DontRepeat(x));
        bool isMirostat = result.GetValue(_mirostat) is not null;
        if (!isMirostat)
        {
            Add(_topNSigma, SamplingStep.TopNSigma);
        }

        int first = chain.Count;
        if (!isMirostat)
        {
            Add(_typical, SamplingStep.Typical);
            Add(_minP, SamplingStep.MinP);
            if (result.GetValue(_xtc) is { } xtc)
            {
                (float probability, float threshold) = Pair("--xtc", xtc);
                chain.Add(UsageException.Of(() => SamplingStep.ExcludeTopChoices(probability, threshold), _xtc.Name));
            }
        }

        float? range = result.GetValue(_dynamic);
        if (chain.Count == 0 && range is null && !isMirostat)
        {
            SamplingOptions options = UsageException.Of(() => new SamplingOptions { Temperature = temperature, Seed = seed }, _temperature.Name);
            options = UsageException.Of(() => options with { TopK = result.GetValue(_topK) }, _topK.Name);
            return UsageException.Of(() => options with { TopP = result.GetValue(_topP) }, _topP.Name);
        }

        // Top-k before, top-p behind what comes between them in other programs; the temperature last.
        if (!isMirostat)
        {
            chain.Insert(first, UsageException.Of(() => SamplingStep.TopK(result.GetValue(_topK)), _topK.Name));
            chain.Insert(first + 1, UsageException.Of(() => SamplingStep.TopP(result.GetValue(_topP)), _topP.Name));
        }

        chain.Add(range is { } around ? UsageException.Of(() => SamplingStep.DynamicTemperature(Math.Max(0, temperature - around), temperature + around), _dynamic.Name) : UsageException.Of(() => SamplingStep.Temperature(temperature), _temperature.Name));
        if (result.GetValue(_mirostat) is { } mirostat)
        {
            (float surprise, float rate) = Pair("--mirostat", mirostat);
            chain.Add(UsageException.Of(() => SamplingStep.Mirostat(surprise, rate), _mirostat.Name));
        }

        return new SamplingOptions { Chain = chain, Seed = seed };

        void Add(Option<float?> option, Func<float, SamplingStep> step)
        {
            if (result.GetValue(option) is { } value)
            {
                chain.Add(UsageException.Of(() => step(value), option.Name));
            }
        }
    });

    private static (float First, float Second) Pair(string option, string text)
    {
        string[] parts = text.Split(',');
        return parts.Length == 2 && float.TryParse(parts[0], CultureInfo.InvariantCulture, out float first) && float.TryParse(parts[1], CultureInfo.InvariantCulture, out float second)
            ? (first, second)
            : throw new UsageException($"{option}: expected two numbers with a comma between, found '{text}'.");
    }

    private static KeyValuePair<int, float> Bias(string text)
    {
        string[] parts = text.Split('=');
        float bias = 0;
        bool isNumber = parts.Length == 2 && (float.TryParse(parts[1], CultureInfo.InvariantCulture, out bias) || parts[1] is "-inf");
        bias = parts.Length == 2 && parts[1] is "-inf" ? float.NegativeInfinity : bias;
        return isNumber && int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int id)
            ? new(id, bias)
            : throw new UsageException($"--logit-bias: expected a token's id, = and a number or -inf, found '{text}'.");
    }
}
