using System.IO.Enumeration;
using System.Text.RegularExpressions;

namespace ModelGen.Tool;

/// <summary>How the matrices of a file are stored, as the declaration of a model whose weights lie in memory in the same way.</summary>
internal static partial class StoredFormats
{
    // Of a file's tensors that are stored otherwise than most, so many are told apart.
    private const int MostRules = 4096;

    /// <summary>
    /// The declaration with the formats of the file's matrices: that of most elements, and rules for the tensors that have another one. What there are no kernels for is held in the next
    /// larger format.
    /// </summary>
    public static ModelCode Add(ModelCode code, WeightFile weights)
    {
        if (ModelCode.AttributeType(code.Attribute) is not { } attribute || ModelCode.Option(attribute, nameof(DecoderAttribute.Weights)) is null)
        {
            return code;
        }

        // Experts' matrices are stacked; a convolution of each channel by itself, [channels, 1, taps], is no stack.
        (WeightTensor Tensor, WeightFormat Format)[] matrices = [.. weights.Tensors.Where(static tensor => tensor.IsFloat && tensor.Shape is [_, _] or [_, > 1, _]).Select(static tensor => (tensor, FormatOf(tensor.TypeName)))];
        if (matrices.Length == 0)
        {
            return code;
        }

        ILookup<string, WeightFormat> formats = matrices.ToLookup(static matrix => Number().Replace(matrix.Tensor.Name, ".*."), static matrix => matrix.Format);
        WeightFormat most = matrices.GroupBy(static matrix => matrix.Format).MaxBy(static group => group.Sum(static matrix => matrix.Tensor.Length))!.Key;

        // Names become code: those of none but the usual characters do.
        string[] rules = [.. matrices.Where(matrix => matrix.Format != most && IsPlain(matrix.Tensor.Name)).Select(matrix => (Pattern: PatternOf(matrix.Tensor.Name, matrix.Format), matrix.Format)).Distinct().Take(MostRules).Select(static rule => $"\"*{rule.Pattern}: {rule.Format}\"")];
        code = most == WeightFormat.F32 ? code : code.With(nameof(DecoderAttribute.Weights), $"{nameof(WeightFormat)}.{most}");
        return rules.Length == 0 ? code : code.With(nameof(DecoderAttribute.WeightsOf), $"new[] {{ {string.Join(", ", rules)} }}");

        // Of all layers where they have one format; but for no matrix of another one that such a rule would be of too.
        string PatternOf(string name, WeightFormat format)
        {
            string pattern = Number().Replace(name, ".*.");
            return formats.All(others => !FileSystemName.MatchesSimpleExpression("*" + pattern, others.Key, ignoreCase: false) || others.All(other => other == format)) ? pattern : name;
        }
    }

    [GeneratedRegex(@"\.[0-9]+\.")]
    private static partial Regex Number();

    /// <summary>The formats of a declaration's matrices, that of most first: <c>Q4_K+Q6_K</c>.</summary>
    public static string Describe(ModelCode code)
    {
        string most = Value(nameof(DecoderAttribute.Weights)) is { } declared ? declared[(declared.LastIndexOf('.') + 1)..] : nameof(WeightFormat.F32);
        string rules = Value(nameof(DecoderAttribute.WeightsOf)) ?? "";
        return string.Join('+', [most, .. Enum.GetNames<WeightFormat>().Where(name => name != most && rules.Contains($": {name}\"", StringComparison.Ordinal))]);

        string? Value(string name) => code.Arguments.FirstOrDefault(argument => argument.Name == name).Value;
    }

    private static WeightFormat FormatOf(string type) => type switch
    {
        nameof(GgmlType.F16) => WeightFormat.F16,
        nameof(GgmlType.BF16) => WeightFormat.BF16,
        nameof(GgmlType.Q8_0) => WeightFormat.Q8_0,
        nameof(GgmlType.Q4_0) => WeightFormat.Q4_0,
        nameof(GgmlType.Q4_K) => WeightFormat.Q4_K,
        nameof(GgmlType.Q5_K) => WeightFormat.Q5_K,
        nameof(GgmlType.Q6_K) => WeightFormat.Q6_K,
        nameof(GgmlType.Q4_1) => WeightFormat.Q4_1,
        nameof(GgmlType.Q5_0) => WeightFormat.Q5_0,
        nameof(GgmlType.Q5_1) => WeightFormat.Q5_1,
        nameof(GgmlType.IQ4_NL) => WeightFormat.IQ4_NL,
        nameof(GgmlType.MXFP4) => WeightFormat.MXFP4,
        nameof(GgmlType.F32) or nameof(GgmlType.F64) => WeightFormat.F32,
        _ => WeightFormat.Q8_0,
    };

    /// <summary>Whether a name is of nothing but the usual characters.</summary>
    public static bool IsPlain(string name) => name.Length is > 0 and <= 256 && name.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');
}
