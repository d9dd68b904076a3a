namespace ModelGen.Compiler.Diagnostics;

/// <summary>The identifiers of all diagnostics. An identifier is never reused; each has a page in docs/diagnostics.</summary>
internal static class DiagnosticIds
{
    public const string NotPartial = "MG0001";
    public const string ContainerNotPartial = "MG0002";
    public const string UnsupportedType = "MG0003";
    public const string SeveralFamilies = "MG0004";
    public const string NoFamily = "MG0005";
    public const string MissingArgument = "MG0006";
    public const string SizeTooSmall = "MG0007";
    public const string HeadsDoNotDivide = "MG0008";
    public const string ContextTooShort = "MG0009";
    public const string OutOfRange = "MG0010";
    public const string UndefinedChoice = "MG0011";
    public const string UnsupportedCombination = "MG0012";
    public const string TooFewSizes = "MG0013";
    public const string OutputDoesNotFitLoss = "MG0014";
    public const string SequenceLengthWithoutSequence = "MG0015";
    public const string TooLarge = "MG0017";
    public const string BudgetExceeded = "MG0018";
    public const string UnsafeNotAllowed = "MG0019";
    public const string LanguageVersionTooOld = "MG0020";
    public const string MemberCollision = "MG0021";
    public const string UnsafeForbidden = "MG0022";
    public const string DeviceLimit = "MG0023";
    public const string GrammarWrong = "MG0030";
    public const string GrammarFileMissing = "MG0031";
    public const string GrammarOnOtherType = "MG0032";
    public const string VocabularyWrong = "MG0033";
    public const string InternalError = "MG9999";
}
