using System.Text.Encodings.Web;
using System.Text.Json;

namespace ModelGen.Tool;

/// <summary>How JSON is printed: in one line, with characters as themselves.</summary>
internal static class JsonText
{
    public static JsonSerializerOptions Options { get; } = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
