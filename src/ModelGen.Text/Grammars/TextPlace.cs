#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>A place in a text.</summary>
/// <param name="Line">The line, from 1.</param>
/// <param name="Column">The column, from 1, in UTF-16 units as editors count them.</param>
internal readonly record struct TextPlace(int Line, int Column)
{
    public static TextPlace Of(string text, int at)
    {
        int line = 1;
        int start = 0;
        for (int i = 0; i < at && i < text.Length; i++)
        {
            if (text[i] == '\n')
            {
                line++;
                start = i + 1;
            }
        }

        return new TextPlace(line, at - start + 1);
    }
}
