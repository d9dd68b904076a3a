using System.Collections.Generic;

#if MODELGEN_COMPILER
namespace ModelGen.Compiler.Grammars;
#else
namespace ModelGen.Grammars;
#endif

/// <summary>The names that tokens have in published models with which an answer ends. Files often name one of them only.</summary>
internal static class EndTokenNames
{
    public static readonly IReadOnlyList<string> All = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|end_of_text|>", "<|endoftext|>", "<|return|>", "<|call|>", "<turn|>", "<｜end▁of▁sentence｜>"];
}
