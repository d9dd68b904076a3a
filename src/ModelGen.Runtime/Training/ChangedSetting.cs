namespace ModelGen;

/// <summary>A setting of training that is not what the run had that wrote the checkpoint.</summary>
/// <param name="Name">The optimizer's or the trainer's property: <c>Beta2</c>, <c>Schedule</c>, <c>Groups[0]</c>, <c>AccumulationSteps</c>.</param>
/// <param name="Before">What that run had; null where there was no such setting.</param>
/// <param name="Now">What the trainer has, and goes on with; null where there is no such setting.</param>
public sealed record ChangedSetting(string Name, string? Before, string? Now);
