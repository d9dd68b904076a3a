using System.Globalization;
using System.Reflection;

namespace ModelGen.Tool;

/// <summary>
/// Reads the declaration that files of this library record, option by option. A value is taken only if it is one of its option's type, and is written anew: no text of a file
/// becomes code.
/// </summary>
internal static class RecordedDeclaration
{
    /// <summary>The recorded declaration.</summary>
    /// <param name="options">The options by name, the family among them.</param>
    /// <param name="path">The file, for messages.</param>
    public static ModelCode Read(IReadOnlyDictionary<string, string> options, string path)
    {
        string family = options["Family"];
        Type attribute = ModelCode.AttributeType(family) ?? throw new ToolException($"{path}: declaration, Family: expected a family of this version, found '{family}'.");
        var arguments = new List<(string, string)>();
        foreach ((string name, string value) in options.OrderBy(static option => option.Key, StringComparer.Ordinal))
        {
            if (name == "Family")
            {
                continue;
            }

            PropertyInfo option = ModelCode.Option(attribute, name)
                ?? throw new ToolException($"{path}: declaration, {name}: expected an option of [{family}], found none of that name.");
            arguments.Add((name, Text(option.PropertyType, value) ?? throw new ToolException($"{path}: declaration, {name}: expected {Kind(option.PropertyType)}, found '{value}'.")));
        }

        return new ModelCode(family, arguments);
    }

    private static string? Text(Type type, string value)
    {
        if (type == typeof(int))
        {
            return int.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number) ? number.ToString(CultureInfo.InvariantCulture) : null;
        }

        if (type == typeof(bool))
        {
            return value is "true" or "false" ? value : null;
        }

        if (type == typeof(double))
        {
            return double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) ? number.ToString("R", CultureInfo.InvariantCulture) : null;
        }

        if (type.IsEnum)
        {
            return Array.IndexOf(Enum.GetNames(type), value) >= 0 ? $"{type.Name}.{value}" : null;
        }

        if (type == typeof(int[]))
        {
            string[] parts = value.Length == 0 ? [] : value.Split(", ");
            string?[] numbers = [.. parts.Select(part => Text(typeof(int), part))];
            return numbers.Contains(null) ? null : $"new int[] {{ {string.Join(", ", numbers)} }}";
        }

        if (type == typeof(double[]))
        {
            string[] parts = value.Length == 0 ? [] : value.Split(", ");
            string?[] numbers = [.. parts.Select(part => Text(typeof(double), part))];
            return numbers.Contains(null) ? null : $"new double[] {{ {string.Join(", ", numbers)} }}";
        }

        return null;
    }

    private static string Kind(Type type) => type == typeof(int) ? "an integer" : type == typeof(bool) ? "true or false" : type == typeof(double) ? "a number"
        : type.IsEnum ? $"one of {string.Join(", ", Enum.GetNames(type))}" : type == typeof(double[]) ? "numbers" : "integers";
}
