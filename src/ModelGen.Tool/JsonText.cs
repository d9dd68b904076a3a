using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ModelGen.Tool;

/// <summary>How JSON is printed, and which is read.</summary>
internal static class JsonText
{
    /// <summary>In one line, with characters as themselves.</summary>
    public static JsonSerializerOptions Options { get; } = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Requires that all names and strings are Unicode. A node reads them when it is asked for them, and throws then if an escape sequence is half of a surrogate pair.</summary>
    /// <param name="json">The text.</param>
    /// <param name="origin">Where it comes from, for messages.</param>
    /// <exception cref="ToolException">One is not.</exception>
    /// <exception cref="JsonException">It is no JSON.</exception>
    public static void RequireUnicode(string json, string origin)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json), new JsonReaderOptions { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip });
        while (reader.Read())
        {
            if (reader.ValueIsEscaped)
            {
                try
                {
                    _ = reader.GetString();
                }
                catch (InvalidOperationException exception)
                {
                    throw new ToolException($"{origin}: expected strings of Unicode, found half of a surrogate pair before byte {reader.BytesConsumed}.", exception);
                }
            }
        }
    }
}
